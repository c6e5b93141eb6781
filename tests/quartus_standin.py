"""Platform Designer's and Quartus' Tcl commands for the projects: they record, and find what is wrong.

The table of IP says what Intel's guides (683724 PCIe of Arria 10, 683106 EMIF of Arria 10) and public designs call
interfaces, their ports, and parameters.
"""

from __future__ import annotations

from pathlib import Path

from tests.tcl_standin import Tool
from tests.verilog_ports import instance_ports, module_ports

__all__ = ["Component", "PlatformDesigner", "Quartus"]

# Interfaces of IP: side and kind, and what it becomes for a port when it is exported.
_MEMORY = (
    *("ck", "ck_n", "a", "act_n", "ba", "bg", "cke", "cs_n", "odt", "reset_n", "par", "alert_n"),
    *("dqs", "dqs_n", "dq", "dbi_n"),
)
_INTERFACES: dict[str, dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "altera_emif": {
        "mem": ("conduit", "end", tuple(f"mem_{name}" for name in _MEMORY)),
        "oct": ("conduit", "end", ("oct_rzqin",)),
        "pll_ref_clk": ("clock", "sink", ("clk",)),
        "global_reset_n": ("reset", "sink", ("reset_n",)),
        "emif_usr_clk": ("clock", "source", ("clk",)),
        "emif_usr_reset_n": ("reset", "source", ("reset_n",)),
        "ctrl_amm_0": ("memory-mapped", "slave", ()),
        "status": ("conduit", "end", ("local_cal_success", "local_cal_fail")),
    },
    "altera_pcie_a10_hip": {
        "refclk": ("clock", "sink", ("clk",)),
        "npor": ("conduit", "end", ("npor", "pin_perst")),
        "hip_serial": ("conduit", "end", tuple(f"{way}{i}" for way in ("rx_in", "tx_out") for i in range(8))),
        "hip_ctrl": ("conduit", "end", ("test_in", "simu_mode_pipe")),
        "hip_pipe": ("conduit", "end", ()),
        "coreclkout_hip": ("clock", "source", ("clk",)),
        "app_nreset_status": ("reset", "source", ("reset_n",)),
        "rxm_bar0": ("memory-mapped", "master", ()),
        "rxm_bar2": ("memory-mapped", "master", ()),
        "rxm_irq": ("interrupt", "receiver", ()),
        "txs": ("memory-mapped", "slave", ()),
    },
}
_MUST = {
    "altera_emif": {"mem", "oct", "pll_ref_clk", "global_reset_n", "ctrl_amm_0"},
    "altera_pcie_a10_hip": {"refclk", "npor", "hip_serial", "hip_ctrl", "rxm_bar0", "rxm_bar2"},
}
_PARAMETERS = {
    "altera_emif": {"SHORT_QSYS_INTERFACE_NAMES"},
    "altera_pcie_a10_hip": {
        f"{name}_hwtcl"
        for name in (
            "interface_type", "port_type", "wrala", "avmm_addr_width", "pll_refclk_freq",
            "cg_impl_cra_av_slave_port", "vendor_id", "device_id", "class_code",
            *(f"bar{i}_{what}" for i in range(3) for what in ("type", "address_width")),
        )
    },
}  # fmt: skip
_PRESETS = {"altera_emif": {"Arria 10 GX FPGA Development Kit with DDR4 HILO"}}
_ROLES = {
    "axi4": {
        *(f"{a}{name}" for a in ("aw", "ar")
          for name in ("id", "addr", "len", "size", "burst", "lock", "cache", "prot", "valid", "ready")),
        "wdata", "wstrb", "wlast", "wvalid", "wready", "bid", "bresp", "bvalid", "bready",
        "rid", "rdata", "rresp", "rlast", "rvalid", "rready",
    },
    "axi4lite": {
        *(f"{a}{name}" for a in ("aw", "ar") for name in ("addr", "prot", "valid", "ready")),
        "wdata", "wstrb", "wvalid", "wready", "bresp", "bvalid", "bready", "rdata", "rresp", "rvalid", "rready",
    },
    "clock": {"clk"}, "reset": {"reset_n"}, "interrupt": {"irq"},
}  # fmt: skip


class Component(Tool):
    """Runs a ``_hw.tcl`` file; ``finish`` compares it with the Verilog that it names."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.name, self.top, self.files = "", "", list[str]()
        self.interfaces: dict[str, tuple[str, str]] = {}
        self.properties: dict[str, dict[str, str]] = {}
        self.ports: dict[str, tuple[str, str, str, int]] = {}

    def do_package(self, *arguments: str) -> None: ...

    def do_set_module_property(self, name: str, value: str) -> None:
        if name == "NAME":
            self.name = value

    def do_add_fileset(self, name: str, kind: str) -> None: ...

    def do_set_fileset_property(self, name: str, what: str, value: str) -> None:
        self.top = value

    def do_add_fileset_file(self, name: str, kind: str, _: str, path: str) -> None:
        self.check((self.folder / path).is_file(), f"no file {path}")
        self.files.append(path)

    def do_add_interface(self, name: str, kind: str, side: str) -> None:
        self.interfaces[name] = (kind, side)
        self.properties[name] = {}

    def do_set_interface_property(self, name: str, what: str, value: str) -> None:
        self.check(not what.startswith("associated") or value in self.interfaces, f"{name}: no interface {value}")
        self.properties[name][what] = value

    def do_add_interface_port(self, interface: str, port: str, role: str, direction: str, bits: str) -> None:
        self.check(role in _ROLES[self.interfaces[interface][0]], f"{interface} has no role {role}")
        self.ports[port] = (interface, role, direction.lower(), int(bits))

    def finish(self) -> list[str]:
        text = "".join((self.folder / path).read_text() for path in self.files)
        given = {name: (direction, bits) for name, (_, _, direction, bits) in self.ports.items()}
        self.check(given == module_ports(text, self.top), f"ports differ from those of {self.top}")
        for interface, (kind, _) in self.interfaces.items():
            roles = {role for owner, role, _, _ in self.ports.values() if owner == interface}
            self.check(roles == _ROLES[kind], f"{interface} lacks {sorted(_ROLES[kind] - roles)}")
            if kind not in ("clock", "reset"):
                known = {"associatedClock", "associatedReset"} <= set(self.properties[interface])
                self.check(known, f"{interface} has no clock or no reset")
        return self.problems


class PlatformDesigner(Tool):
    """Runs a system's script, and knows the folder's component."""

    def __init__(self, folder: Path, component: Component) -> None:
        super().__init__(folder)
        self.component = component
        self.instances: dict[str, str] = {}
        self.exports: dict[str, str] = {}
        self.declared: dict[str, tuple[str, str]] = {}
        self.connections: dict[str, dict[str, str]] = {}
        self.saved = ""

    def do_package(self, *arguments: str) -> None: ...

    def do_create_system(self, name: str) -> None: ...

    def do_set_project_property(self, name: str, value: str) -> None:
        self.check(name in ("DEVICE", "DEVICE_FAMILY"), f"no project property {name}")

    def do_add_instance(self, name: str, kind: str) -> None:
        self.check(kind in _INTERFACES or kind == self.component.name, f"no component {kind}")
        self.instances[name] = kind

    def do_apply_instance_preset(self, name: str, preset: str) -> None:
        self.check(preset in _PRESETS[self.instances[name]], f"no preset {preset}")

    def do_set_instance_parameter_value(self, name: str, parameter: str, value: str) -> None:
        kind = self.instances[name]
        self.check(parameter in _PARAMETERS[kind], f"no parameter {parameter} of {kind}")

    def do_add_interface(self, name: str, kind: str, side: str) -> None:
        self.declared[name] = (kind, side)

    def do_set_interface_property(self, name: str, what: str, value: str) -> None:
        kind, side, _ = self._interface(value)
        self.check(self.declared.get(name) == (kind, side), f"{name} is no {kind} {side}, as {value} is")
        self.exports[name] = value

    def do_add_connection(self, first: str, second: str) -> None:
        kind, side, _ = self._interface(first)
        other_kind, other_side, _ = self._interface(second)
        pairs = {("source", "sink"), ("master", "slave"), ("receiver", "sender")}
        self.check(kind == other_kind and (side, other_side) in pairs, f"{first} cannot go to {second}")
        self.connections[f"{first}/{second}"] = {}

    def do_set_connection_parameter_value(self, connection: str, name: str, value: str) -> None:
        self.check(connection in self.connections, f"no connection {connection}")
        self.connections.setdefault(connection, {})[name] = value

    def do_save_system(self, name: str) -> None:
        self.saved = name

    def _interface(self, path: str) -> tuple[str, str, tuple[str, ...]]:
        instance, _, name = path.partition(".")
        kind = self.instances.get(instance, "")
        if kind == self.component.name:
            found = self.component.interfaces.get(name)
            if found:
                return _SIDES[found[0], found[1]]
        elif name in _INTERFACES.get(kind, {}):
            return _INTERFACES[kind][name]
        self.check(False, f"no interface {path}")
        return "", "", ()

    def ports(self) -> set[str]:
        """Of the system's module, as far as they are known."""
        return {f"{name}_{port}" for name, path in self.exports.items() for port in self._interface(path)[2]}

    def finish(self) -> list[str]:
        used = {end for connection in self.connections for end in connection.split("/")} | set(
            self.exports.values()
        )
        for name, kind in self.instances.items():
            needed = set(self.component.interfaces) if kind == self.component.name else _MUST[kind]
            for interface in sorted(needed):
                self.check(f"{name}.{interface}" in used, f"{name}.{interface} is connected to nothing")
        for connection, values in self.connections.items():
            if self._interface(connection.split("/")[0])[0] == "memory-mapped":
                self.check("baseAddress" in values, f"{connection} has no address")
        self.check(self.saved == "system.qsys", "the system is not saved")
        return self.problems


_SIDES: dict[tuple[str, str], tuple[str, str, tuple[str, ...]]] = {
    ("clock", "end"): ("clock", "sink", ("clk",)), ("reset", "end"): ("reset", "sink", ("reset_n",)),
    ("axi4", "start"): ("memory-mapped", "master", ()), ("axi4lite", "end"): ("memory-mapped", "slave", ()),
    ("interrupt", "end"): ("interrupt", "sender", ()),
}  # fmt: skip


class Quartus(Tool):
    """Runs the build and the constraints on the top module and the system's ports."""

    def __init__(self, folder: Path, system: PlatformDesigner) -> None:
        super().__init__(folder)
        self.system = system
        self.top = (folder / "rtl/top.v").read_text()
        self.ports = module_ports(self.top, "top")
        self.pins: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        self.clocks: dict[str, str] = {}
        self.steps: list[str] = []

    def do_package(self, *arguments: str) -> None: ...

    def do_project_new(self, *arguments: str) -> None:
        self.steps.append("new")

    def do_set_global_assignment(self, _: str, name: str, value: str) -> None:
        if name.endswith("_FILE"):
            exists = (self.folder / value).is_file() or (name == "QSYS_FILE" and value == self.system.saved)
            self.check(exists, f"no file {value}")
        self.settings[name] = value

    def do_set_location_assignment(self, pin: str, _: str, port: str) -> None:
        self._port(port.removesuffix("(n)"))
        self.check(pin not in self.pins.values(), f"{pin} is taken twice")
        self.check(port not in self.pins, f"{port} has two pins")
        self.pins[port] = pin

    def do_set_instance_assignment(self, *arguments: str) -> None:
        options, _ = self.options(arguments, set())
        self._port(options["to"])

    def do_export_assignments(self) -> None: ...

    def do_execute_flow(self, what: str) -> None:
        self.steps.append(what)

    def do_project_close(self) -> None: ...

    def do_create_clock(self, *arguments: str) -> None:
        options, (port,) = self.options(arguments, set())
        self.clocks[port] = options["name"]

    def do_get_ports(self, names: str) -> str:
        for name in self.list(names):
            self.check(name in self.ports, f"constraint of no port {name}")
        return names

    def _nothing(self, *arguments: str) -> None: ...

    do_derive_pll_clocks = do_derive_clock_uncertainty = do_set_false_path = _nothing

    def _port(self, name: str) -> None:
        port, _, bit = name.partition("[")
        width = self.ports.get(port, ("", 0))[1]
        self.check(int(bit.removesuffix("]") or 0) < width, f"no port {name}")

    def finish(self) -> list[str]:
        for name, (_, width) in self.ports.items():
            bits = [name] if (name not in self.pins and width > 1) or f"{name}[0]" in self.pins else []
            wanted = [f"{name}[{i}]" for i in range(width)] if bits else [name]
            self.check(set(wanted) <= set(self.pins), f"{name} has not all of its pins")
            self.check(not name.endswith("_clk") or name in self.clocks, f"{name} is no clock")
        self.check(
            instance_ports(self.top, "system") == self.system.ports(), "top.v and the system have other ports"
        )
        self.check(self.settings["TOP_LEVEL_ENTITY"] == "top", "another top")
        return self.problems
