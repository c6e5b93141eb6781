"""The compute queue: three descriptors at work at once, so that little is lost between one and the next.

::

    fetch -> loading -----------> issuing ----------------> finishing
             weights leave the    vectors are read and      results are written;
             ring, tables fill    multiplied                then it has completed

A descriptor loads as soon as the one before it has taken all its weights, issues as soon as that has issued all
its vectors, and finishes when that has completed. What it may read before that, its field ``early`` says.
"""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.config import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["ComputeQueue"]


class ComputeQueue(wiring.Component):
    """Runs the compute descriptors, in order, up to END.

    Members:
        start, offset: begin with the descriptor at this offset.
        fetch_*: a :class:`RecordFetch`.
        others: transfers that have completed.
        legal: the descriptor ``loading`` may run.
        halt: start nothing more.
        loading, load, loader_busy, preparing: for the weight stream: descriptor, one pulse to begin; it is at
            work, and has not filled the tables yet.
        issuing, launch, launched, issue_busy: for the datapath: descriptor, one pulse to begin, its number;
            vectors are still to come.
        clear: the descriptor before the issuing one has completed.
        finishing, finish, done: for the output pipe: descriptor, one pulse to begin; its last word is written.
        oldest: all descriptors before the loading one have completed.
        completed, ended: descriptors finished; END was reached.
        illegal: the descriptor number ``completed`` is illegal.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        record = isa.COMPUTE.layout()
        super().__init__(
            {
                "start": In(1),
                "offset": In(32),
                "fetch_start": Out(1),
                "fetch_offset": Out(32),
                "fetch_record": In(isa.RECORD_BYTES * 8),
                "fetch_valid": In(1),
                "others": In(16),
                "legal": In(1),
                "halt": In(1),
                "loading": Out(record),
                "load": Out(1),
                "loader_busy": In(1),
                "preparing": In(1),
                "issuing": Out(record),
                "launch": Out(1),
                "launched": Out(16),
                "issue_busy": In(1),
                "clear": Out(1),
                "finishing": Out(record),
                "finish": Out(1),
                "done": In(1),
                "oldest": Out(1),
                "completed": Out(16),
                "ended": Out(1),
                "illegal": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        loading, issuing, finishing = (
            Signal(isa.COMPUTE.layout(), name=name, reset_less=True) for name in ("loaded", "issued", "finished")
        )
        m.d.comb += [self.loading.eq(loading), self.issuing.eq(issuing), self.finishing.eq(finishing)]
        stride = self.configuration.record_stride
        following = Signal(32)

        # A place is taken until its descriptor has moved on.
        issue_taken, finish_taken = Signal(), Signal()
        begun, followed = Signal(), Signal()
        issue_free, finish_free, to_issue, to_finish = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            issue_free.eq(~issue_taken | (begun & followed & ~self.issue_busy)),
            finish_free.eq(~finish_taken | self.done),
            to_finish.eq(issue_taken & ~followed & finish_free & ~self.halt),
            self.clear.eq(followed),
        ]
        m.d.sync += [self.launch.eq(to_issue), self.finish.eq(to_finish)]
        with m.If(self.launch):
            m.d.sync += [begun.eq(1), self.launched.eq(self.launched + 1)]
        with m.If(to_issue):
            m.d.sync += [issuing.eq(loading), issue_taken.eq(1), begun.eq(0), followed.eq(0)]
        with m.Elif(issue_free):
            m.d.sync += issue_taken.eq(0)
        with m.If(to_finish):
            m.d.sync += [finishing.eq(issuing), finish_taken.eq(1), followed.eq(1)]
        with m.Elif(self.done):
            m.d.sync += finish_taken.eq(0)
        with m.If(self.done):
            m.d.sync += self.completed.eq(self.completed + 1)

        none_before, tables_free, ready = Signal(), Signal(), Signal()
        m.d.comb += [
            ready.eq(issue_free & ~self.halt),
            none_before.eq(~issue_taken & ~finish_taken),
            tables_free.eq(
                ~(loading.lookup & ((issue_taken & issuing.lookup) | (finish_taken & finishing.lookup)))
                & ~(loading.prescale & issue_taken & issuing.prescale)
            ),
        ]
        with m.FSM() as fsm:
            with m.State("IDLE"), m.If(self.start):
                m.d.comb += [self.fetch_start.eq(1), self.fetch_offset.eq(self.offset)]
                m.d.sync += following.eq(self.offset + stride)
                m.next = "FETCH"
            with m.State("FETCH"), m.If(self.fetch_valid & ~self.loader_busy & ~self.halt):
                m.d.sync += loading.eq(data.View(isa.COMPUTE.layout(), self.fetch_record))
                m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(loading.opcode == Opcode.END):
                    m.next = "END"
                with m.Elif(self.legal):
                    m.d.comb += [self.fetch_start.eq(1), self.fetch_offset.eq(following)]
                    m.d.sync += following.eq(following + stride)
                    m.next = "LOAD"
                with m.Else():
                    m.next = "ILLEGAL"
            with m.State("LOAD"), m.If(tables_free & ~self.halt):
                m.d.comb += self.load.eq(1)
                m.next = "ISSUE"
            with m.State("ISSUE"), m.If(ready & ~self.preparing & (self.others >= loading.wait)):
                m.d.comb += to_issue.eq(1)
                m.next = "FETCH"
            with m.State("END"):
                m.d.comb += self.ended.eq(none_before & (self.others >= loading.wait))
            with m.State("ILLEGAL"):
                m.d.comb += self.illegal.eq(none_before)
        m.d.comb += self.oldest.eq(none_before | (fsm.ongoing("FETCH") & followed))
        return m
