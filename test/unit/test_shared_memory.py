"""What the killed leave in shared memory is removed, and nothing that somebody still needs."""

import subprocess

from av_td3_ros.nodes import shared_memory


def test_what_this_process_still_holds_of_a_killed_one_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory, 'FOLDER', tmp_path)

    def make(name):
        return (tmp_path / name).open('w')

    make('fastdds_0').close()
    before = shared_memory.snapshot()
    make('fastdds_1').close()
    with make('fastdds_2'), make('fastdds_2_el'), make('fastdds_port3'):  # made by this process
        with make('fastdds_5') as file:
            theirs = subprocess.Popen(['sleep', '600'], stdout=file)
        with make('fastdds_4'):  # by one that was killed, and with it went its hold of the lock
            try:
                removed = shared_memory.remove_orphans(before)
            finally:
                theirs.kill()
                theirs.wait()
    assert removed == {'fastdds_1', 'fastdds_4'}
    kept = {'fastdds_0', 'fastdds_2', 'fastdds_2_el', 'fastdds_port3', 'fastdds_5'}
    assert shared_memory.snapshot() == kept
