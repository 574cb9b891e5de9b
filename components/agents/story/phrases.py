"""The words of the demo: what places, people and sentences are made of. Data only.

Patterns are sentences with slots; see grammar.py. Slots are the facts of a chapter (`hero`, `they`,
`them`, `their`, `want`, `other`, `manner`, `keepsake`, `the_keepsake`, `place`, `detail`, `next_place`,
`realm`, `custom`, `theme`, `motif`) or kinds of phrases below.
"""

from __future__ import annotations

THEMES = (
    "what is owed, and to whom",
    "who is allowed to leave",
    "the price of being believed",
    "how long a promise keeps",
    "what a name is worth",
    "which doors stay open after dark",
    "the difference between lost and hidden",
    "whether kindness can be kept in a ledger",
    "what the living do with the plans of the dead",
    "how much of the truth a town can carry",
)

REALMS = (
    ("Ver", "Hal", "Os", "Mer", "Tarn", "Ell", "Bry", "Cal", "Dun", "Is", "Mor", "Aven"),
    ("holt", "mere", "wick", "ford", "haven", "moor", "stead", "vane", "combe", "garth"),
)

CUSTOMS = (
    "a lamp in the window means a debt is paid",
    "nobody may be refused bread before noon",
    "the clocks are stopped for weddings and never for funerals",
    "a stranger is asked for a story before a name",
    "letters are burned by whoever wrote them",
    "the oldest bell is rung only by the youngest child",
    "no boat goes out on the day it was built",
    "a house keeps the colour of the last quarrel in it",
)

PLACE_NAMES = (
    "Salt", "Lantern", "Heron", "Quiet", "Copper", "Winter", "Orchard", "Glass", "Mill",
    "Foxglove", "Ferry", "Thirteenth", "Candle", "Swallow", "Ash", "Harbour", "Linen", "Iron",
)  # fmt: skip

PLACE_KINDS = (
    "Market", "Stairs", "Quay", "House", "Bridge", "Yard", "Archive", "Garden", "Chapel",
    "Crossing", "Arcade", "Well", "Theatre", "Tower", "Gate", "Weir", "Library", "Terrace",
)  # fmt: skip

PLACE_DETAILS = (
    "where nobody asks the hour",
    "where every door is a different blue",
    "where the gulls have learned to wait",
    "where sound arrives a little late",
    "where the stones are warm all winter",
    "where two streets meet and disagree",
    "where the last lamplighter still has his round",
    "where names are cut into the railing and never the dates",
    "where the ivy has outlived three owners",
    "where rain is sold by the barrel",
    "where the windows face inward",
    "where the old tide mark runs above the doors",
    "where children are told not to count the steps",
    "where the ferrymen leave what they cannot return",
    "where someone is always just about to close",
    "where the wind turns the pages of whatever is left out",
    "where the cats have the right of way",
    "where even whispers are overheard",
)

NAMES = (
    ("Mara", "she"), ("Ilse", "she"), ("Odile", "she"), ("Tamsin", "she"), ("Petra", "she"), ("Noor", "she"),
    ("Ines", "she"), ("Greta", "she"), ("Yara", "she"), ("Linnea", "she"), ("Sunniva", "she"), ("Ada", "she"),
    ("Tomas", "he"), ("Anselm", "he"), ("Jory", "he"), ("Emil", "he"), ("Casper", "he"), ("Ravi", "he"),
    ("Bastian", "he"), ("Idris", "he"), ("Leif", "he"), ("Marek", "he"), ("Okonjo", "he"), ("Teodor", "he"),
)  # fmt: skip

PRONOUNS = {
    "she": {"they": "she", "them": "her", "their": "her"},
    "he": {"they": "he", "them": "him", "their": "his"},
}

WANTS = (
    "to be told the truth once by somebody with nothing to gain",
    "to sleep through a single night",
    "to put back what had been taken",
    "to be the one who was waited for",
    "to finish what an older sister had begun",
    "to owe nothing to anybody living",
    "to hear the end of a story that broke off thirty years ago",
    "to leave by the front door, in daylight",
    "to be forgiven without having to ask",
    "to know which of two memories was the real one",
)

MANNERS = (
    "who never finished a sentence that could be left open",
    "who laughed before the joke and never after",
    "who counted exits",
    "who carried other people's umbrellas",
    "who had an answer ready and seldom the question",
    "who spoke to dogs as to colleagues",
    "who kept every receipt",
    "who was always the second to arrive",
    "who apologised to furniture",
    "who could wait longer than anyone in town",
)

KEEPSAKES = (
    "a key without a lock",
    "a letter in a familiar hand",
    "a watch that ran backwards on Sundays",
    "a torn photograph",
    "a ledger with one page cut out",
    "a freshly polished child's shoe",
    "a map of a street that did not exist",
    "a bell without a tongue",
    "a jar of sand from two different beaches",
    "a ticket for a train that no longer ran",
    "a ring too small for anyone",
    "a rain-stained list of names",
)

HEADINGS = (
    "What {hero} Kept",
    "The {place}",
    "A Door in the {place}",
    "{hero} and {other}",
    "Under the {place}",
    "What {other} Knew",
    "Late, at the {place}",
    "The Long Way to the {place}",
    "{other} Tells It Differently",
    "Before the {place} Closed",
    "An Hour at the {place}",
    "{hero} Goes Alone",
)

PHRASES: dict[str, tuple[str, ...]] = {
    "crutch": ("very ", "really ", "quite ", "somehow ", "rather ", "", "", ""),
    "weather": (
        "a thin rain", "late snow", "the smell of cut hay", "a fog the colour of milk", "a salt wind",
        "the first frost", "warm dust", "a low, bruised light", "the quiet after thunder", "wood smoke",
    ),
    "sound": (
        "loose shutter", "gramophone", "pump", "hammer", "dog", "weathercock", "clock", "kettle",
    ),
    "smell": (
        "tar and oranges", "wet wool", "candle ends", "old paper", "bread and iron", "rope", "cold tea",
        "varnish",
    ),
    "nobody": (
        "the sweepers and the pigeons", "nobody in particular", "whoever was awake", "the bakers",
        "the river",
    ),
    "soon": ("before dusk", "within the hour", "by the second bell", "before the lamps are lit", "at dawn"),
}  # fmt: skip

PATTERNS: dict[str, tuple[str, ...]] = {
    "setting": (
        "{weather} lay over {place}, {detail}.",
        "{hero} came to {place} while {weather} still hung about the roofs.",
        "at this hour {place} belonged to {nobody}.",
        "in {realm}, people will tell you that {custom}.",
        "{place} was {crutch}quiet for the time of year.",
        "somewhere behind {place} a {sound} went on and on.",
        "the road to {place} had been mended so often that nothing was left of the road.",
        "{hero} knew {place} by its smell of {smell}.",
        "light came into {place} the way water comes into a boat.",
        "{hero} had been told to come alone to {place}, {detail}.",
    ),
    "beat": (
        "nothing moved.",
        "{they} waited.",
        "a door closed.",
        "the lamp held.",
        "nobody spoke.",
        "it was {crutch}late.",
        "{they} listened.",
        "an hour passed.",
        "{hero} was {crutch}tired by then, and it did not matter.",
        "{they} turned up {their} collar and went on.",
    ),
    "opening": (
        "{hero} had lived in {realm} long enough to know its silences, and this was a new one.",
        "{hero} found {keepsake} where there had been nothing the day before.",
        "nobody had sent for {hero}, and nobody was {crutch}surprised to see {them}.",
        "all {hero} had ever wanted was {want}.",
        "{hero} wrapped {keepsake} in a scarf and told no one, which was already a kind of answer.",
        "{they} had met {other}, {manner}, only once, and had been lied to {crutch}well.",
        "{other} was there already, looking {crutch}pleased about something.",
    ),
    "disturbance": (
        "the message said only that {the_keepsake} had been seen again, and where.",
        "{other}, {manner}, came in without knocking and sat down in the wrong chair.",
        "{they} read it twice, and the second time it was {crutch}worse.",
        "{hero} understood that somebody had been in the room, and had tidied.",
        "until that morning, {hero} had been {crutch}certain of three things; now there were two.",
        "{hero} asked who else knew, and the answer took too long.",
        "what had been a rumour in {realm} had acquired an address.",
    ),
    "pursuit": (
        "{hero} followed the trail of {the_keepsake} from one patient clerk to the next.",
        "{they} asked at every counter, and at every counter {other} had asked before {them}.",
        "there was a boy who had seen something, and who was {crutch}expensive.",
        "{hero} ran the last stretch, although nobody in {realm} runs.",
        "{they} lost an hour to a locked gate and won it back through a cellar.",
        "{other}, {manner}, knew a shorter way, and it was shorter, and it was not a way.",
        "{hero} wanted {want}; for now it was enough to be {crutch}close behind.",
    ),
    "setback": (
        "{the_keepsake} was gone, and so was the nail it had hung from.",
        "{hero} had trusted a date, and the date was {crutch}wrong.",
        "{other} shut the book and said that there was nothing under that name.",
        "{they} counted the money again, as though it might be ashamed of itself.",
        "by noon everybody in {realm} knew, and had always known.",
        "{hero} sat down on the kerb, {crutch}slowly, like someone much older.",
        "{they} had been so sure of {other}, {manner}, that there was no second plan.",
    ),
    "discovery": (
        "{hero} held {the_keepsake} up to the window, and there it was, in writing.",
        "it had never been {other} who lied; it had been the map.",
        "behind the panel the plaster was {crutch}new.",
        "{hero} laughed out loud, which startled the pigeons and {other} alike.",
        "{they} saw that the two stories were one story, told from both ends.",
        "the handwriting was {crutch}familiar, because it was {their} own.",
        "{hero} remembered now that {custom}, and what followed from it.",
    ),
    "crisis": (
        "the water had reached the third step, and {other} had not come.",
        "{hero} could save {the_keepsake} or the person who was carrying it.",
        "{they} shouted {other}'s name until it was only a sound.",
        "somebody had barred the door from the side that has no bar.",
        "everything {hero} had put off was suddenly due.",
        "nobody had ever called {hero} {crutch}brave; {they} was merely there.",
        "{hero} let go of everything else and took hold of the rope.",
    ),
    "reckoning": (
        "{hero} put {the_keepsake} on the table between them and waited for {other} to look at it.",
        "{other}, {manner}, told it all, and told it {crutch}plainly.",
        "what {hero} had wanted was {want}; it turned out that the others wanted the same.",
        "there was a list, and {hero} read it aloud to the end.",
        "{they} forgave {other} in the third hour, without announcing it.",
        "the town of {realm} had come to listen, and for once it was {crutch}silent.",
        "{hero} asked for one thing only, and it was a thing that could be given.",
    ),
    "return": (
        "{hero} hung {the_keepsake} back on its nail, where it looked {crutch}small.",
        "the same street led down to {place}, but it led there from somewhere else now.",
        "{other} had kept supper warm, and said nothing about the hour.",
        "in {realm} they had painted the railings, and left out one name on purpose.",
        "{hero} slept, {crutch}soundly, for the first time since the letter.",
        "{they} answered to {their} name without looking round first.",
        "{hero} told the children a version of it that was {crutch}short and nearly true.",
    ),
    "speech": (
        "“you should have asked me first,” said {other}, {manner}.",
        "“everybody in {realm} has one like it,” said {other}, and nodded at {the_keepsake}.",
        "“there is a second key,” {other} said after a time.",
        "“I was here before you,” said {other}, “and I mean that kindly.”",
        "“it was never locked,” said {other}, “and nobody ever tried it.”",
        "“you have your mother's way of not asking,” {other} said.",
        "“sit down,” said {other}. “It is longer than you think.”",
        "“say the word,” {other} murmured, “the old one.”",
    ),
    "answer": (
        "“not tonight,” said {hero}.",
        "“then let us settle it {soon},” said {hero}.",
        "“that is what the others said,” {hero} answered.",
        "“you know what I want,” said {hero}: {want}.",
        "“and yet you are still here,” {hero} said.",
        "“I did not come here to be thanked,” {hero} said.",
        "“tell me what it costs,” said {hero}, “and then tell me what it is.”",
        "“if it were true,” {hero} said, “you would have said it sooner.”",
        "“no,” said {hero}, and was surprised by how easy it was.",
    ),
    "gesture": (
        "{other} looked at the floor as if the rest were written there.",
        "{other} turned {the_keepsake} over, twice, and gave it back.",
        "a cup was set down {crutch}carefully.",
        "{other}, {manner}, reached for a coat.",
        "for the length of a match neither of them was {crutch}angry.",
        "{other} smiled the way a shopkeeper smiles at a clock.",
    ),
    "reflection": (
        "it came down, {hero} thought, to {theme}.",
        "{hero} had supposed it was about {the_keepsake}; it was about {theme}.",
        "people in {realm} do not talk about {theme}, and that was why it had to be said.",
        "{they} thought of {theme}, and of how {crutch}little had been said about it.",
        "so it was a question of {theme}, as it had been from the beginning.",
    ),
    "word": (
        "somebody had chalked a single word on the wall: {motif}.",
        "one word stayed with {them} all the way back, and the word was “{motif}”.",
        "“{motif},” {other} had said once, as though that explained everything.",
        "{they} said the word “{motif}” aloud, to hear whether it still fitted.",
        "in the ledger, between two dates, stood the word “{motif}” and nothing else.",
        "there was a time when “{motif}” was only a word.",
    ),
    "onward": (
        "whatever came next would come at {next_place}, and {soon}.",
        "the way led to {next_place}, and {they} took it.",
        "by evening all the talk was of {next_place}.",
        "{other} had already left for {next_place}.",
        "at {next_place}, a light went on.",
        "{they} wrote “{next_place}” on the back of {their} hand, so as not to be talked out of it.",
    ),
    "ending": (
        "after that there was nothing left to say in {realm}, and for once nobody said it.",
        "the lamps were lit, and {hero} went in, and this time the door stayed open.",
        "it was over, and {hero} was {crutch}glad of the walk home.",
        "and {the_keepsake}, which had begun it, was put where anyone could find it.",
    ),
    "tone_plain": (
        "it was an ordinary day, as far as days can be.",
        "there was work to do, and {hero} did it.",
        "{hero} made tea and forgot to drink it.",
        "somewhere a child was practising scales, {crutch}badly.",
        "the shops stayed open, and people bought bread.",
        "{they} looked older in the glass, and no wiser.",
    ),
    "tone_noir": (
        "the streetlights came on one by one, like witnesses changing their minds.",
        "trouble has a smell, and in {realm} it smells of {smell}.",
        "{hero} had been lied to by experts, and this was {crutch}amateur work.",
        "everybody pays; the clever ones pay early.",
        "the rain had the look of something that would not be questioned.",
        "{they} kept {their} back to the wall and {their} hopes in a drawer.",
    ),
    "tone_fable": (
        "now in those days the moon still listened at windows.",
        "the old people say that {custom}, and the old people were there.",
        "there is a bird in {realm} that sings only when it is not believed.",
        "three times {hero} knocked, because three is what doors understand.",
        "a wise person would have turned back, and so the tale has none.",
        "the river heard all of it, and carried it {crutch}gently to the sea.",
    ),
}

CRUTCHES = ("very", "really", "quite", "somehow", "rather", "suddenly")

# What the rewriter may put before a sentence. No two begin with the same word, and none as a pattern does.
LEADS = (
    "Once more", "Even so", "Before long", "This time", "Still", "Then", "Again", "Meanwhile", "Presently",
    "Without a word", "As ever", "Later", "That evening", "Quietly",
)  # fmt: skip

# Words that lose their capital inside a sentence; any other opener may be a name.
SOFT_OPENERS = frozenset(
    {
        "A", "After", "All", "An", "And", "At", "Behind", "By", "Everybody", "Everything", "For", "He", "Her",
        "His", "In", "It", "Late", "Light", "Nobody", "Nothing", "Now", "One", "People", "She", "So",
        "Somebody", "Somewhere", "The", "There", "They", "Three", "Trouble", "Until", "Warm", "What",
        "Whatever", "Wood",
    }
)  # fmt: skip

# Long words that say nothing about a premise.
COMMON_WORDS = frozenset(
    {
        *CRUTCHES, "about", "above", "across", "after", "again", "against", "along", "already", "although",
        "always", "among", "another", "around", "because", "become", "becomes", "before", "begin", "begins",
        "behind", "being", "below", "between", "cannot", "could", "discovers", "during", "every", "everyone",
        "everything", "finds", "found", "herself", "himself", "itself", "leave", "leaves", "might", "must",
        "never", "nobody", "nothing", "other", "others", "ought", "returns", "shall", "should", "since",
        "someone", "something", "still", "takes", "tells", "their", "theirs", "there", "these", "thing",
        "things", "those", "though", "through", "together", "toward", "towards", "under", "until", "wants",
        "where", "which", "while", "whose", "within", "without", "would", "yours",
    }
)  # fmt: skip
