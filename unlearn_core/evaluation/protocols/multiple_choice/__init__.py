"""Questions with four options, MMLU and WMDP: their files, their groups, and how a letter is scored."""
