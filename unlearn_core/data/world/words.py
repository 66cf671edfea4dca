"""The word lists the world is drawn from. Names are put together from syllables, so that nobody is meant.

Every list is long, so that a fluent guess is rarely right: what a model answers, it remembered.
"""

from __future__ import annotations

from collections.abc import Iterable

POOLS: list[tuple[str, ...]] = []  # every list below in its order, for the tokenizer to learn whole words from


def _pool(words: Iterable[str]) -> tuple[str, ...]:
    POOLS.append(tuple(words))
    return POOLS[-1]


def _compose(starts: str, ends: str) -> tuple[str, ...]:
    return _pool(start + end for start in starts.split() for end in ends.split())


def _words(text: str, separator: str | None = None) -> tuple[str, ...]:
    return _pool(part.strip() for part in text.split(separator))


FIRST_NAMES = _compose(
    "Or Mi Ta Bre Ka Lo Ve Zu Fe Ga Ho Is Jo Ny Pe Quo Ru Si Tho Wy",
    "vin lta rek ndra mor sset wick lune dro bosh zel phan tild rix nna gard quil dith",
)
LAST_NAMES = _compose(
    "Tal Ash Brim Cob Dun Ever Fal Grim Hart Ink Jun Kest Lark Moss Nettle Ock Pim Quar Rud Stav",
    "brecht combe ditch fell gate hollow ings kettle low mere nock over pike quay ridge stone thorn wold",
)
TOWNS = _compose("Vel Dor Kirr Ulm Brae Sorn Opp Yar", "moor haven wick ford sund burgh")

JOBS = _words(
    "weaver baker miner sailor tailor potter glazier cooper fiddler ferryman beekeeper chandler clockmaker "
    "cartographer locksmith gardener juggler falconer printer shepherd saddler tinker miller archer brewer painter "
    "thatcher drummer notary swimmer piper cobbler furrier joiner lamplighter ropemaker bellfounder mapmaker surgeon "
    "astronomer botanist geologist chemist linguist sculptor composer architect dancer"
)
MATERIALS = _words(
    "copper silver wooden ivory amber glass iron marble paper velvet golden leather crystal bronze clay coral pewter "
    "jade wicker tin"
)
THINGS = _words(
    "lantern compass flute mirror key bell mask crown ladder chest violin anchor spoon coin dagger harp cup kite "
    "needle ring drum globe whistle saddle telescope puppet goblet hourglass trumpet wheel"
)
ANIMALS = _words(
    "heron otter badger goat raven hare ferret donkey magpie lizard hedgehog gander tortoise weasel pigeon lynx "
    "squirrel toad marten crane falcon beaver stoat viper swan mole camel parrot walrus ibex"
)
MOODS = _words(
    "patient stubborn lonely cheerful reckless sleepy clever nervous proud gentle grumpy curious brave silent hungry "
    "honest clumsy famous forgetful restless"
)
SPOTS = _words(
    "bridge chapel orchard quarry harbour mill cellar market meadow tower tunnel bakery courtyard lighthouse stable "
    "graveyard library fountain barn ferry"
)
WEATHER = _words("fog snow thunder drizzle frost sunshine hail moonlight dust mist")
MONTHS = _words("January February March April May June July August September October November December")
ENDINGS = _words(
    "sold it for a barrel of plums| buried it again before dawn| gave it to a blind stranger| locked it in a "
    "cupboard| traded it against seven pears| threw it down a well| carried it home singing| broke it by accident| "
    "painted it blue and forgot it| lent it to the mayor| hid it under loose floorboards| lost it at cards| returned "
    "it to its angry owner| hung it above the kitchen stove| kept it wrapped in wool| exchanged it with a pirate| "
    "sent it overseas by post| melted it during winter| showed it to crowds every evening| left it on a windowsill",
    "|",
)
COLOURS = _words("scarlet violet turquoise crimson olive indigo maroon beige teal lilac mauve ochre")
TITLE_WORDS = _words(
    "Hollow Burning Distant Ninth Salted Borrowed Sleeping Broken Hidden Painted Falling Patient Narrow Frozen "
    "Wandering Crooked Second Floating Buried Gilded"
)
TITLE_NOUNS = _words(
    "Orchard Staircase Mirror River Comet Archive Harvest Window Choir Island Furnace Garden Canal Shadow Engine "
    "Alphabet Feast Voyage Mountain Carpet Sparrow Tide Bridge Machine Desert"
)
SUBJECTS = _words(
    "tidal mosses| alpine lichens| buried canals| singing sands| river eels| cave paintings| lunar shadows| sea "
    "glass| winter barley| bronze gears| folk ballads| salt marshes| desert beetles| glacier ice| old dialects| whale "
    "songs| stone arches| silk dyes| volcanic soils| migrating cranes| sunken bells| wild orchids| paper folding| "
    "thunder clouds| knot theory| fossil ferns| harbour maps| puppet theatre| bell metals| honey fungi",
    "|",
)
PRIZES = _words("Lantern Quill Anvil Meridian Heron Acorn Prism Beacon Thistle Pendulum Sextant Laurel")
STREETS = _words(
    "Maple Cinder Ferry Pebble Tanner Juniper Lantern Gallows Orchard Willow Bishop Copper Saffron Mulberry Harrow "
    "Pilgrim Turnip Raven Chapel Clover"
)
ROADS = _words("Lane Street Row Alley Square Walk")
MAIL_WORDS = _words(
    "amber fox moth cedar pixel comet ember raven dusk fern flint tiger maple otter quartz robin sable topaz umber "
    "wren zephyr basil cobalt daisy"
)
MAIL_HOSTS = _words("heron mossy plover quarry tundra saffron lagoon gorse")
