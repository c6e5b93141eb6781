"""Vivado's Tcl commands as far as the projects use them: they record the block design, and find what is wrong."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from tests.tcl_standin import Tool
from tests.verilog_ports import registers
from tests.vivado_ip import ANY, BOARD, HIGH, LOW, OPTIONAL, OTHER_PROPERTIES, PROPERTIES, SEGMENTS, SPACES, Cell

__all__ = ["Vivado"]


class Vivado(Tool):
    """A session; ``finish`` says what is wrong with what it built."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cells: dict[str, Cell] = {}
        self.ports: dict[str, tuple[str, str]] = {}
        self.bus_ports: dict[str, tuple[str, str]] = {}
        self.nets: list[set[str]] = []
        self.buses: list[tuple[str, str]] = []
        self.addresses: dict[str, dict[str, tuple[int, int]]] = {}
        self.files: list[str] = []
        self.project: dict[str, str] = {}
        self.steps: list[str] = []

    # The project.

    def do_create_project(self, *arguments: str) -> None:
        options, _ = self.options(arguments, {"force"})
        self.project["part"] = options["part"]

    def do_add_files(self, *arguments: str) -> None:
        _, files = self.options(arguments, {"norecurse"})
        for name in files:
            self.check("system_wrapper" in name or Path(name).is_file(), f"no file {name}")
            self.files.append(name)

    def do_create_bd_design(self, name: str) -> None:
        self.check(name == "system", f"design {name}")

    def do_make_wrapper(self, *arguments: str) -> str:
        self.check("validated" in self.steps, "a wrapper before the design was validated")
        return "build/system_wrapper.v"

    def do_validate_bd_design(self) -> None:
        self.steps.append("validated")
        self._validate()

    def do_launch_runs(self, *arguments: str) -> None:
        self.steps.append(arguments[0])

    def do_get_property(self, name: str, what: str) -> str:
        return {"PROGRESS": "100%", "STATS.WNS": "0.1"}[name]

    def do_write_hw_platform(self, *arguments: str) -> None:
        self.steps.append("platform")

    def _nothing(self, *arguments: str) -> str:
        return ""

    do_update_compile_order = do_save_bd_design = do_wait_on_run = do_open_run = _nothing
    do_report_timing_summary = do_report_utilization = do_report_power = do_report_drc = _nothing

    def do_current_project(self) -> str:
        return "project"

    def do_current_fileset(self) -> str:
        return "fileset"

    def do_current_design(self) -> str:
        return "design"

    def do_get_files(self, name: str) -> str:
        return name

    def do_get_runs(self, name: str) -> str:
        self.check(name in ("synth_1", "impl_1"), f"no run {name}")
        return f"run:{name}"

    # The block design.

    def do_create_bd_cell(self, *arguments: str) -> str:
        options, (name,) = self.options(arguments, set())
        self.check(name not in self.cells, f"two cells {name}")
        if options["type"] == "module":
            module = options["reference"]
            texts = [Path(file).read_text() for file in self.files if file.endswith(".v")]
            source = next((text for text in texts if re.search(rf"^module {module} ", text, re.MULTILINE)), "")
            self.check(source, f"no module {module} in the project's files")
            self.cells[name] = Cell("module", source=source)
        else:
            self.cells[name] = Cell(options["vlnv"].removeprefix("xilinx.com:ip:"))
        return name

    def do_apply_bd_automation(self, *arguments: str) -> None:
        options, _ = self.options(arguments, set())
        self.check(options["rule"] == "xilinx.com:bd_rule:zynq_ultra_ps_e", f"rule {options['rule']}")

    def do_create_bd_port(self, *arguments: str) -> None:
        options, (name,) = self.options(arguments, set())
        self._board_has(name)
        self.ports[name] = (
            "out" if options["dir"] == "I" else "in",
            LOW if options.get("type") == "rst" else "data",
        )

    def do_create_bd_intf_port(self, *arguments: str) -> None:
        options, (name,) = self.options(arguments, set())
        self._board_has(name)
        kind = options["vlnv"].removeprefix("xilinx.com:interface:").removesuffix("_rtl:1.0")
        self.bus_ports[name] = (options["mode"].lower(), kind)

    def do_get_bd_cells(self, name: str) -> str:
        self.check(name in self.cells, f"no cell {name}")
        return f"cell:{name}"

    def do_get_bd_pins(self, name: str) -> str:
        cell, _, pin = name.partition("/")
        self.check(cell in self.cells and pin in self.cells[cell].pins(), f"no pin {name}")
        return name

    def do_get_bd_ports(self, name: str) -> str:
        self.check(name in self.ports, f"no port {name}")
        return f"/{name}"

    def do_get_bd_intf_pins(self, name: str) -> str:
        cell, _, pin = name.partition("/")
        self.check(cell in self.cells and pin in self.cells[cell].interfaces(), f"no interface {name}")
        return name

    def do_get_bd_intf_ports(self, name: str) -> str:
        self.check(name in self.bus_ports, f"no interface port {name}")
        return f"/{name}"

    def do_set_property(self, *arguments: str) -> None:
        options, rest = self.options(arguments, set())
        given = self.list(options["dict"]) if "dict" in options else rest[:-1]
        target = rest[-1]
        for name, value in zip(given[::2], given[1::2], strict=True):
            if name == "board_part":
                self.project["board_part"] = value
            if not name.startswith("CONFIG."):
                self.check(name in OTHER_PROPERTIES, f"no property {name}")
                continue
            cell = self.cells.get(target.removeprefix("cell:"))
            kind = cell.kind if cell else "port"
            self.check(name[7:] in PROPERTIES[kind], f"no property {name} of {kind}")
            if cell:
                cell.config[name[7:]] = value
                if name.endswith("BOARD_INTERFACE"):
                    self._board_has(value)

    def do_connect_bd_net(self, *pins: str) -> None:
        net = set(pins)
        for other in [one for one in self.nets if one & net]:
            self.nets.remove(other)
            net |= other
        self.nets.append(net)

    def do_connect_bd_intf_net(self, first: str, second: str) -> None:
        self.buses.append((first, second))

    def do_get_bd_addr_spaces(self, name: str) -> str:
        self.check(name in self._spaces().values(), f"no address space {name}")
        return name

    def do_get_bd_addr_segs(self, name: str) -> str:
        self.check(name in self._segments().values(), f"no address segment {name}")
        return name

    def do_assign_bd_address(self, *arguments: str) -> None:
        options, (segment,) = self.options(arguments, set())
        base, size = int(options["offset"], 0), int(options["range"], 0)
        self.check(size & size - 1 == 0 and base % size == 0, f"{segment}: {size:#x} at {base:#x} is no range")
        self.addresses.setdefault(options["target_address_space"], {})[segment] = (base, size)

    # Constraints.

    def do_get_ports(self, name: str) -> str:
        self.check(name in self.ports or name in self.bus_ports, f"constraint of no port {name}")
        return name

    def do_get_pins(self, *arguments: str) -> str:
        options, _ = self.options(arguments, {"hierarchical"})
        match = re.fullmatch(r"NAME =~ \*(\w+)/\*/(\w+)_reg\[\d+\]/D", options["filter"])
        cell = self.cells.get(match[1]) if match else None
        self.check(cell and match and match[2] in registers(cell.source), f"no pins {options['filter']}")
        return "pins"

    def do_set_false_path(self, *arguments: str) -> None:
        options, rest = self.options(arguments, set())
        self.check(set(options) <= {"from", "to"} and not rest, "a false path from nothing")

    # What is wrong.

    def _validate(self) -> None:
        for name, cell in self.cells.items():
            for pin, (direction, _) in cell.pins().items():
                if direction == "in" and pin not in OPTIONAL:
                    self.check(any(f"{name}/{pin}" in net for net in self.nets), f"nothing drives {name}/{pin}")
            for interface in cell.interfaces():
                used = sum(f"{name}/{interface}" in bus for bus in self.buses)
                self.check(used == 1, f"{name}/{interface} is connected {used} times")
        for port in (*self.ports, *self.bus_ports):
            used = any(f"/{port}" in net for net in [*self.nets, *self.buses])
            self.check(used, f"port {port} is connected to nothing")
        for net in self.nets:
            self._validate_net(net)
        for first, second in self.buses:
            self._validate_bus(first, second)
        self._validate_addresses()

    def _pin(self, name: str) -> tuple[str, str]:
        if name.startswith("/"):
            return self.ports[name[1:]]
        cell, _, pin = name.partition("/")
        return self.cells[cell].pins()[pin]

    def _validate_net(self, net: set[str]) -> None:
        kinds = {name: self._pin(name) for name in sorted(net)}
        drivers = [name for name, (direction, _) in kinds.items() if direction == "out"]
        self.check(len(drivers) == 1, f"{len(drivers)} drivers of {sorted(net)}")
        if drivers:
            driven = kinds[drivers[0]][1]
            for name, (direction, kind) in kinds.items():
                same = kind == driven or driven == "constant" or (kind == ANY and driven in (LOW, HIGH))
                self.check(direction == "out" or same, f"{drivers[0]} is a {driven}, {name} wants a {kind}")

    def _bus(self, name: str) -> tuple[str, str, str]:
        if name.startswith("/"):
            role, kind = self.bus_ports[name[1:]]
            return ("slave" if role == "master" else "master"), kind, ""
        cell, _, pin = name.partition("/")
        return self.cells[cell].interfaces()[pin]

    def _clocks(self, name: str) -> list[set[str]]:
        """The nets that clock an interface."""
        cell, pin = name.split("/")[0], self._bus(name)[2]
        clocks = [pin] if pin != "any" else [one for one in self.cells[cell].pins() if one.startswith("aclk")]
        return [net for net in self.nets if any(f"{cell}/{clock}" in net for clock in clocks)]

    def _validate_bus(self, first: str, second: str) -> None:
        (role, kind, clock), (other_role, other_kind, _) = self._bus(first), self._bus(second)
        self.check({role, other_role} == {"master", "slave"}, f"{first} and {second} are both {role}s")
        self.check(kind == other_kind, f"{first} is {kind}, {second} {other_kind}")
        if kind == "aximm" and clock:
            shared = any(net in self._clocks(second) for net in self._clocks(first))
            self.check(shared, f"{first} and {second} have no clock in common")

    def _spaces(self) -> dict[str, str]:
        return {
            f"{name}/{interface}": f"{name}/{SPACES.get((cell.kind, interface), interface)}"
            for name, cell in self.cells.items()
            for interface, (role, kind, _) in cell.interfaces().items()
            if (role, kind) == ("master", "aximm") and cell.kind != "smartconnect"
        }

    def _segments(self) -> dict[str, str]:
        return {
            f"{name}/{interface}": f"{name}/{SEGMENTS[cell.kind, interface]}"
            for name, cell in self.cells.items()
            for interface in cell.interfaces()
            if (cell.kind, interface) in SEGMENTS
        }

    def _validate_addresses(self) -> None:
        for master, space in self._spaces().items():
            reached = {self._segments()[slave] for slave in self._reached(master)}
            given = self.addresses.get(space, {})
            self.check(set(given) == reached, f"{space} reaches {sorted(reached)}, has {sorted(given)}")
            ranges = sorted(given.values())
            for (base, size), (following, _) in pairwise(ranges):
                self.check(base + size <= following, f"{space}: ranges overlap at {following:#x}")

    def _reached(self, master: str) -> set[str]:
        """Slaves behind a master, through interconnects."""
        other = next((b if a == master else a for a, b in self.buses if master in (a, b)), "")
        cell = other.split("/")[0]
        if not other or self.cells[cell].kind != "smartconnect":
            return {other} - {""}
        outward = [
            f"{cell}/{name}" for name, (role, _, _) in self.cells[cell].interfaces().items() if role == "master"
        ]
        return set().union(*(self._reached(one) for one in outward))

    def _board_has(self, name: str) -> None:
        known = BOARD.get(self.project["board_part"], set())
        self.check(name in known, f"the board file knows no interface {name}")
