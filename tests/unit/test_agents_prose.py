"""What the agents write, criticise and mend."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.agents.character_expert import make_cast
from components.agents.critic import Critic, review_draft
from components.agents.director import make_plan
from components.agents.outliner import make_outline
from components.agents.plotmaster import make_plot
from components.agents.rewriter import mend
from components.agents.story.book import chapter_text
from components.agents.story.models import Draft, Fault, Review, Stage, StoryRequest
from components.agents.story.phrases import LEADS, PATTERNS, PHRASES
from components.agents.story.prose import (
    choppy_at,
    count_crutches,
    echoes_at,
    join_choppy,
    lead_in,
    softened,
    telling_words,
    without_crutches,
)
from components.agents.story.statistics import count_syllables, measure
from components.agents.worldbuilder import make_world
from components.agents.writer import Writer, gather, make_draft

TONES = ("plain", "noir", "fable")
REQUESTS = st.builds(
    StoryRequest,
    title=st.text(min_size=1, max_size=50).filter(str.strip),
    premise=st.text(min_size=1, max_size=200).filter(str.strip),
    chapters=st.integers(1, 50),
    seed=st.integers(0, 2**53 - 1),
)


def drafts_of(request: StoryRequest, *, tone: str = "plain") -> list[Draft]:
    """Return the first draft of every chapter."""
    plan, world = make_plan(request), make_world(request)
    plot = make_plot(request, make_outline(request, plan, world, make_cast(request)))
    return [
        make_draft(request, chapter, facts=gather(plan, world, chapter), tone=tone)
        for chapter in plot.chapters
    ]


class TestRequest:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"title": ""},
            {"title": " \n"},
            {"chapters": 0},
            {"chapters": 51},
            {"seed": -1},
            {"seed": 2**53},
            {"tone": "noir"},
        ],
    )
    def test_what_cannot_be_written_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            StoryRequest.model_validate({"title": "T", "premise": "P", "chapters": 1, "seed": 0, **wrong})

    def test_a_title_is_kept_on_one_line(self) -> None:
        assert StoryRequest(title=" a\n\n# b ", premise="p").title == "a # b"


class TestDraft:
    @settings(max_examples=40, deadline=None)
    @given(request=REQUESTS, tone=st.sampled_from(TONES))
    def test_every_chapter_has_a_page_of_finished_sentences(self, request: StoryRequest, tone: str) -> None:
        for draft in drafts_of(request, tone=tone):
            assert 120 <= measure(chapter_text(draft)).words <= 270
            for sentence in (one for paragraph in draft.paragraphs for one in paragraph):
                assert not re.search(r"[{}]|  ", sentence)
                assert sentence[-1] in ".”"

    def test_neighbouring_chapters_do_not_begin_alike(self) -> None:
        drafts = drafts_of(StoryRequest(title="T", premise="P", chapters=20, seed=1))
        openings = [draft.paragraphs[0][0] for draft in drafts]
        assert all(one != next_one for one, next_one in pairwise(openings))

    def test_the_premise_finds_its_way_into_the_chapters(self) -> None:
        request = StoryRequest(title="T", premise="A lighthouse and a submarine.", chapters=2)
        text = " ".join(map(chapter_text, drafts_of(request))).lower()
        assert "lighthouse" in text
        assert "submarine" in text

    @pytest.mark.parametrize("stage", Stage)
    def test_there_is_something_to_tell_of_every_stage(self, stage: Stage) -> None:
        assert len(PATTERNS[stage]) >= 4

    def test_every_slot_has_a_fact_or_a_phrase(self) -> None:
        request = StoryRequest(title="T", premise="P", chapters=1)
        plan, world = make_plan(request), make_world(request)
        chapter = make_plot(request, make_outline(request, plan, world, make_cast(request))).chapters[0]
        known = {*gather(plan, world, chapter), *PHRASES}
        slots = {slot for kind in PATTERNS.values() for one in kind for slot in re.findall(r"\{(\w+)\}", one)}
        assert slots <= known


class TestPlot:
    @given(chapters=st.integers(1, 50), seed=st.integers(0, 100))
    def test_chapters_follow_the_arc(self, chapters: int, seed: int) -> None:
        request = StoryRequest(title="T", premise="P", chapters=chapters, seed=seed)
        plan = make_plan(request)
        plot = make_plot(request, make_outline(request, plan, make_world(request), make_cast(request)))
        assert tuple(chapter.scene.stage for chapter in plot.chapters) == plan.arc
        assert [chapter.number for chapter in plot.chapters] == list(range(1, chapters + 1))

    def test_an_arc_goes_from_the_opening_to_the_return(self) -> None:
        arc = make_plan(StoryRequest(title="T", premise="P", chapters=9)).arc
        assert (arc[0], arc[-1]) == (Stage.OPENING, Stage.RETURN)
        assert set(arc) == set(Stage)


class TestProse:
    def test_telling_words_are_long_uncommon_and_named_once(self) -> None:
        assert telling_words("The KEEPER finds a map; another keeper waits.") == ("keeper", "waits")

    def test_crutches_are_taken_out_and_the_capital_moves(self) -> None:
        assert without_crutches("Very late, it was really over.") == "Late, it was over."

    def test_an_echo_gets_a_lead_in_and_a_name_keeps_its_capital(self) -> None:
        paragraph = ("Mara ran.", "Mara fell.", "The door shut.", "The lamp went out.")
        assert echoes_at(paragraph) == [1, 3]
        told = lead_in(paragraph, iter(["Then", "Later"]))
        assert told == ("Mara ran.", "Then, Mara fell.", "The door shut.", "Later, the lamp went out.")
        assert echoes_at(told) == []

    def test_short_sentences_in_a_row_become_one(self) -> None:
        paragraph = ("Nothing moved.", "She waited.", "The road to the quay had been mended again.")
        assert choppy_at(paragraph) == [1]
        assert join_choppy(paragraph) == ("Nothing moved, and she waited.", paragraph[2])

    def test_speech_is_left_alone(self) -> None:
        assert echoes_at(("“No,” she said.", "“No,” said he.")) == []
        assert choppy_at(("“No,” she said.", "He left.")) == []

    def test_unknown_words_are_taken_for_names(self) -> None:
        assert softened("Ilse waited.") == "Ilse waited."

    def test_a_lead_in_never_makes_a_new_echo(self) -> None:
        leads = [lead.split()[0] for lead in LEADS]
        openers = {one.split()[0].capitalize() for kind in PATTERNS.values() for one in kind}
        assert len(set(leads)) == len(leads)
        assert openers.isdisjoint(leads)


class TestCritic:
    def test_a_flawless_draft_has_every_point_and_no_fault(self) -> None:
        draft = Draft(heading="", paragraphs=(("Mara took the long road to the quay.", "Nobody else did."),))
        assert review_draft(draft) == Review(score=100, worst=None)

    def test_the_costliest_fault_is_the_worst(self) -> None:
        draft = Draft(
            heading="", paragraphs=(("It was very, very late.", "It was a really long road to the quay."),)
        )
        assert count_crutches(draft) == 2
        assert review_draft(draft) == Review(score=84, worst=Fault.CRUTCH)

    @settings(max_examples=40, deadline=None)
    @given(request=REQUESTS, tone=st.sampled_from(TONES))
    def test_each_round_mends_what_was_named_until_nothing_is_left(
        self, request: StoryRequest, tone: str
    ) -> None:
        """A round may lay another fault bare: a sentence without its empty words can be a short one."""
        for draft in drafts_of(request, tone=tone):
            review = review_draft(draft)
            for _ in Fault:
                mended = review_draft(draft := mend(draft, review, Random(0)))
                assert mended.worst is None or mended.worst is not review.worst
                review = mended
            assert review == Review(score=100, worst=None)

    def test_nothing_named_is_nothing_changed(self) -> None:
        draft = drafts_of(StoryRequest(title="T", premise="P", chapters=1))[0]
        assert mend(draft, Review(score=100, worst=None), Random(0)) == draft

    @pytest.mark.parametrize(
        ("score", "worst", "round_", "good_enough"),
        [
            (89, Fault.ECHO, 0, False),
            (90, Fault.ECHO, 0, True),
            (10, Fault.ECHO, 3, True),
            (0, None, 0, True),
        ],
    )
    def test_a_draft_goes_round_until_it_is_good_or_has_gone_round_often(
        self, score: int, worst: Fault | None, round_: int, good_enough: bool
    ) -> None:
        verdict = Critic.Config().approves(Review(score=score, worst=worst), round_=round_)
        assert verdict is good_enough

    @pytest.mark.parametrize("wrong", [{"threshold": 101}, {"max_rounds": -1}, {"treshold": 1}])
    def test_a_wrong_configuration_is_refused(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ValidationError):
            Critic.Config.model_validate(wrong)

    def test_an_unknown_tone_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            Writer.Config.model_validate({"tone": "nior"})


class TestStatistics:
    def test_words_sentences_and_distinct_words_are_counted(self) -> None:
        statistics = measure("The cat sat. “The dog's day!” Well... it rained.")
        assert (statistics.words, statistics.sentences, statistics.distinct_words) == (9, 4, 8)

    def test_an_empty_text_measures_nothing(self) -> None:
        assert measure(" \n").words == 0

    def test_short_words_are_easier_to_read_than_long_ones(self) -> None:
        easy = measure("The cat sat on the mat.")
        hard = measure("Unquestionably incomprehensible terminology characterises bureaucracies.")
        assert easy.reading_ease == pytest.approx(116.1)
        assert hard.reading_ease < 0

    @pytest.mark.parametrize(
        ("word", "syllables"), [("cat", 1), ("table", 2), ("make", 1), ("river", 2), ("the", 1)]
    )
    def test_syllables_are_groups_of_vowels(self, word: str, syllables: int) -> None:
        assert count_syllables(word) == syllables
