"""Attacks by what is asked: other names and wordings, hints in the prompt, many answers, a searched suffix."""
