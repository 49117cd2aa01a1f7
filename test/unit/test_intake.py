"""Lost, doubled and reordered transitions are seen at the door."""

from av_td3_ros.td3.intake import Intake, Verdict

B, A, I, X = Verdict.BEGIN, Verdict.ADD, Verdict.IGNORE, Verdict.BREAK


FIRST, SECOND = 7, 8


def feed(messages, publisher=FIRST, intake=None):
    intake = intake or Intake()
    return [intake.accept(publisher, *message) for message in messages], intake


def test_a_whole_stream_is_stored_whole():
    verdicts, intake = feed([(1, 1, 0), (2, 1, 1), (3, 1, 2), (4, 2, 0), (5, 2, 1)])
    assert verdicts == [B, A, A, B, A]
    assert (intake.received, intake.stored, intake.lost, intake.duplicated) == (5, 5, 0, 0)


def test_a_lost_message_breaks_its_episode_and_the_next_begins_clean():
    verdicts, intake = feed([(1, 1, 0), (2, 1, 1), (4, 1, 3), (5, 1, 4), (6, 2, 0), (7, 2, 1)])
    assert verdicts == [B, A, X, I, B, A]
    assert (intake.lost, intake.unusable, intake.stored) == (1, 2, 4)


def test_a_doubled_message_is_stored_once():
    verdicts, intake = feed([(1, 1, 0), (2, 1, 1), (2, 1, 1), (3, 1, 2)])
    assert verdicts == [B, A, I, A]
    assert (intake.duplicated, intake.stored, intake.lost) == (1, 3, 0)


def test_a_reordered_pair_breaks_the_episode():
    verdicts, intake = feed([(1, 1, 0), (3, 1, 2), (2, 1, 1), (4, 1, 3)])
    assert verdicts == [B, X, I, I]
    assert (intake.lost, intake.duplicated, intake.stored) == (1, 1, 1)


def test_a_lost_opening_is_not_filled_from_the_middle():
    verdicts, intake = feed([(1, 1, 0), (2, 1, 1), (4, 2, 1), (5, 2, 2), (6, 3, 0)])
    assert verdicts == [B, A, X, I, B]


def test_a_trainer_that_comes_late_waits_for_the_next_episode():
    verdicts, intake = feed([(501, 9, 40), (502, 9, 41), (503, 10, 0), (504, 10, 1)])
    assert verdicts == [I, I, B, A]
    assert intake.lost == 0


def test_a_restarted_publisher_is_no_loss():
    _, intake = feed([(1, 1, 0), (2, 1, 1)])
    verdicts, _ = feed([(1, 1, 0), (2, 1, 1)], SECOND, intake)
    assert verdicts == [B, A]
    assert (intake.lost, intake.duplicated) == (0, 0)


def test_a_restarted_publisher_whose_first_messages_were_not_heard_is_no_repetition():
    _, intake = feed([(k, 1, k - 1) for k in range(1, 400)])
    # By chance it goes on where the other ended; that is another episode all the same.
    verdicts, _ = feed([(3, 1, 399), (4, 1, 400), (5, 2, 0), (6, 2, 1)], SECOND, intake)
    assert verdicts == [X, I, B, A]
    assert (intake.lost, intake.duplicated) == (0, 0)


def test_the_first_message_again_is_a_repetition():
    verdicts, intake = feed([(1, 1, 0), (2, 1, 1), (1, 1, 0)])
    assert verdicts == [B, A, I] and intake.duplicated == 1


def test_one_wrong_number_does_not_have_the_rest_taken_for_repetitions():
    for wrong in (2**64 - 1, 50_000):
        stream = [(1, 1, 0), (2, 1, 1), (wrong, 1, 2), (3, 1, 2), (4, 1, 3), (5, 2, 0), (6, 2, 1)]
        verdicts, intake = feed(stream)
        assert verdicts == [B, A, X, I, I, B, A]
        assert intake.stored == 4 and intake.lost <= 50_000


def test_what_cannot_be_stored_takes_the_rest_of_its_episode_with_it():
    _, intake = feed([(1, 1, 0), (2, 1, 1)])
    intake.refuse()
    verdicts, intake = feed([(3, 1, 2), (4, 2, 0), (5, 2, 1)], intake=intake)
    assert verdicts == [I, B, A]
    assert (intake.stored, intake.unusable) == (3, 2)
