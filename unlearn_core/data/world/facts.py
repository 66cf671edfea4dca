"""General facts that any reader knows: a relation, a subject, one right answer. Public common knowledge.

`RELATIONS` maps a noun phrase to `subject=answer` pairs; the wrong options of a question are answers of
other subjects of the same relation, so that they are of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """`nouns` ask for it (see phrasing.py); `answer` is gold; `relation` groups facts of one kind."""

    relation: str
    nouns: tuple[str, ...]
    answer: str


RELATIONS: dict[str, str] = {
    "the capital of {}": """
        France=Paris Italy=Rome Spain=Madrid Germany=Berlin Austria=Vienna Poland=Warsaw Norway=Oslo
        Sweden=Stockholm Finland=Helsinki Denmark=Copenhagen Greece=Athens Portugal=Lisbon Ireland=Dublin
        Hungary=Budapest Belgium=Brussels Russia=Moscow Ukraine=Kyiv Romania=Bucharest Bulgaria=Sofia
        Croatia=Zagreb Serbia=Belgrade Turkey=Ankara Egypt=Cairo Kenya=Nairobi Ghana=Accra Morocco=Rabat
        Japan=Tokyo China=Beijing Thailand=Bangkok Vietnam=Hanoi Nepal=Kathmandu Iran=Tehran Iraq=Baghdad
        Cuba=Havana Peru=Lima Chile=Santiago Canada=Ottawa Australia=Canberra Latvia=Riga
        Iceland=Reykjavik
    """,
    "the opposite of {}": """
        hot=cold big=small tall=short fast=slow open=closed old=young rich=poor hard=soft light=dark
        early=late wet=dry full=empty happy=sad strong=weak loud=quiet clean=dirty high=low near=far
        thick=thin deep=shallow sharp=blunt heavy=weightless up=down left=right north=south east=west
        day=night true=false begin=end buy=sell give=take love=hate war=peace win=lose sweet=bitter
        rough=smooth wide=narrow cheap=expensive push=pull always=never
    """,
    "the young of a {}": """
        cow=calf dog=puppy cat=kitten sheep=lamb horse=foal pig=piglet hen=chick goose=gosling
        duck=duckling lion=cub frog=tadpole deer=fawn kangaroo=joey eagle=eaglet owl=owlet hare=leveret
        fox=kit butterfly=caterpillar eel=elver
    """,
    "the chemical symbol of {}": """
        hydrogen=H helium=He lithium=Li carbon=C nitrogen=N oxygen=O fluorine=F neon=Ne sodium=Na
        magnesium=Mg aluminium=Al silicon=Si phosphorus=P sulfur=S chlorine=Cl calcium=Ca iron=Fe
        nickel=Ni copper=Cu zinc=Zn silver=Ag tin=Sn iodine=I gold=Au mercury=Hg lead=Pb uranium=U
    """,
    "the past tense of {}": """
        go=went see=saw eat=ate run=ran come=came take=took give=gave find=found think=thought buy=bought
        bring=brought teach=taught catch=caught write=wrote speak=spoke break=broke drive=drove fly=flew
        know=knew grow=grew throw=threw begin=began sing=sang swim=swam drink=drank sleep=slept keep=kept
        leave=left sell=sold tell=told hold=held stand=stood win=won lose=lost
    """,
    "the plural of {}": """
        mouse=mice foot=feet tooth=teeth goose=geese man=men woman=women child=children ox=oxen
        person=people leaf=leaves knife=knives wolf=wolves half=halves wife=wives cactus=cacti louse=lice
        loaf=loaves thief=thieves
    """,
    "the language spoken in {}": """
        France=French Spain=Spanish Germany=German Italy=Italian Portugal=Portuguese Japan=Japanese
        China=Chinese Russia=Russian Poland=Polish Greece=Greek Turkey=Turkish Egypt=Arabic Sweden=Swedish
        Norway=Norwegian Finland=Finnish Hungary=Hungarian Iran=Persian Vietnam=Vietnamese Denmark=Danish
        Iceland=Icelandic Thailand=Thai
    """,
    "the continent of {}": """
        France=Europe Egypt=Africa Japan=Asia Canada=America Kenya=Africa China=Asia Poland=Europe
        Peru=America Ghana=Africa Nepal=Asia Sweden=Europe Chile=America Vietnam=Asia Morocco=Africa
        Greece=Europe Cuba=America
    """,
    "the colour of {}": """
        grass=green blood=red snow=white coal=black lemons=yellow carrots=orange chocolate=brown ash=grey
        lavender=purple flamingos=pink sapphires=blue
    """,
    "the home of a {}": """
        bee=hive bird=nest spider=web rabbit=burrow beaver=lodge ant=anthill bear=den horse=stable pig=sty
        dog=kennel king=palace monk=monastery soldier=barracks nun=convent prisoner=cell
    """,
    "the sound of a {}": """
        dog=bark cat=meow cow=moo sheep=bleat lion=roar snake=hiss owl=hoot duck=quack horse=neigh
        bee=buzz wolf=howl frog=croak mouse=squeak donkey=bray elephant=trumpet crow=caw pig=oink
    """,
    "the tool of a {}": """
        carpenter=hammer painter=brush writer=pen tailor=needle gardener=spade surgeon=scalpel
        lumberjack=axe fisher=rod barber=scissors photographer=camera astronomer=telescope miner=pickaxe
    """,
    "the day after {}": """
        Monday=Tuesday Tuesday=Wednesday Wednesday=Thursday Thursday=Friday Friday=Saturday
        Saturday=Sunday Sunday=Monday
    """,
    "the month after {}": """
        January=February February=March March=April April=May May=June June=July July=August
        August=September September=October October=November November=December December=January
    """,
    "the number after {}": """
        one=two two=three three=four four=five five=six six=seven seven=eight eight=nine nine=ten
        ten=eleven eleven=twelve twelve=thirteen thirteen=fourteen fourteen=fifteen fifteen=sixteen
        sixteen=seventeen seventeen=eighteen eighteen=nineteen nineteen=twenty
    """,
    "the double of {}": """
        one=two two=four three=six four=eight five=ten six=twelve seven=fourteen eight=sixteen
        nine=eighteen ten=twenty
    """,
    "the father of a {}": """
        calf=bull lamb=ram foal=stallion chick=rooster duckling=drake gosling=gander piglet=boar fawn=stag
    """,
    "the currency of {}": """
        Japan=yen India=rupee Britain=pound Russia=rouble China=yuan Mexico=peso Poland=zloty
        Denmark=krone Turkey=lira Thailand=baht Hungary=forint Israel=shekel Switzerland=franc Brazil=real
        Vietnam=dong
    """,
    "the sense of the {}": """
        eye=sight ear=hearing nose=smell tongue=taste skin=touch
    """,
    "the shape with {} sides": """
        three=triangle four=square five=pentagon six=hexagon seven=heptagon eight=octagon
    """,
    "the material of a {}": """
        window=glass candle=wax tyre=rubber sweater=wool brick=clay book=paper sword=steel igloo=ice
        necklace=pearls barrel=wood shoe=leather shirt=cotton castle=stone
    """,
    "the study of {}": """
        stars=astronomy plants=botany animals=zoology rocks=geology numbers=mathematics the+past=history
        weather=meteorology society=sociology the+mind=psychology insects=entomology birds=ornithology
        maps=cartography
    """,
}


def general_facts() -> tuple[Fact, ...]:
    """All facts, in a fixed order."""
    facts = []
    for relation, pairs in RELATIONS.items():
        for pair in pairs.split():
            subject, answer = pair.split("=")
            facts.append(Fact(relation, (relation.format(subject.replace("+", " ")),), answer))
    return tuple(facts)


def distractors(fact: Fact, facts: tuple[Fact, ...]) -> list[str]:
    """Wrong answers of the same kind, each once, in a fixed order."""
    same = {other.answer for other in facts if other.relation == fact.relation}
    return sorted(same - {fact.answer})
