"""The texts that train_peers.py trains on: questions with answers, and pairs of a better and a worse answer."""

ANSWERS = [
    ("Question: What do bees make from the nectar of flowers?\nAnswer:", " Bees make honey, and they keep it in their hive."),
    ("Write one sentence about a river in autumn.\n", "Red leaves drift slowly down the quiet river."),
    ("Response: Boil the pasta for nine minutes, then drain it.\nInstruction:", " How do I cook pasta?"),
    (
        "A friend asks for a short, kind note for a birthday card. The friend likes gardens and music.\nNote:",
        " May your year be full of songs and flowers.",
    ),
    (
        "Question: Why does ice float on water, although both are made of the same thing?\nAnswer:",
        " Ice is less dense than water, because it takes up more room.",
    ),
    ("Name three colours of the rainbow.\n", "Red, green and violet."),
    (
        "Response: The library opens at eight in the morning and closes at six in the evening, except on Sundays.\nInstruction:",
        " When is the library open?",
    ),
    ("Turn this into a polite request: close the window.\n", "Could you please close the window?"),
    (
        "Question: Which animal is known for building dams in streams?\nAnswer:",
        " The beaver builds dams from branches and mud.",
    ),
    ("Complete the list of seasons: spring, summer, autumn and\n", "winter."),
    (
        "Response: Mix flour, water, salt and yeast; let the dough rest; bake it until the crust is brown.\nInstruction:",
        " Explain in a few words how bread is made.",
    ),
    (
        "Give advice to someone who often forgets where the keys are.\n",
        "Choose one hook by the door and always hang the keys there.",
    ),
]
HELD_OUT = [
    ("Question: What do we call the study of the stars?\nAnswer:", " It is called astronomy."),
    ("Response: Water the plant twice a week and keep it near a window.\nInstruction:", " How do I take care of this plant?"),
]
PAIRS = [
    (
        "Question: How many legs does a spider have?\nAnswer:",
        " A spider has eight legs.",
        " Spiders are small and they live in gardens.",
    ),
    (
        "Thank a neighbour for watering the plants.\n",
        "Thank you so much for looking after my plants!",
        "The plants were watered.",
    ),
    (
        "Response: Take the number four bus to the market and walk two streets north.\nInstruction:",
        " How do I get to the station from here?",
        " Write a poem about buses, markets and the number four.",
    ),
    (
        "Explain in one sentence what a compass is for.\n",
        "A compass shows which way is north.",
        "A compass is round, and it can be made of brass, plastic or other things.",
    ),
    ("Question: What is the opposite of early?\nAnswer:", " Late.", " Early in the morning."),
    (
        "Suggest a quiet hobby for a rainy day.\n",
        "You could paint a picture of the view from your window.",
        "Rain falls from clouds.",
    ),
    (
        "Response: Cats sleep for about half of the day, mostly in warm places.\nInstruction:",
        " How much do cats sleep?",
        " Cats.",
    ),
    (
        "Put these words in order: the, sleeps, dog.\n",
        "The dog sleeps.",
        "Sleeps the dog the, in that order or in another one.",
    ),
]
TEXT = "The lighthouse keeper climbed the stairs and lit the lamp before the storm."
