"""``fieldwave verify``: the proof, on your package and your images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fieldwave.package import Package

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=examples("fieldwave verify rn50.zip photos/*.jpg", "fieldwave verify rn50.zip cat.jpg --json"))
def verify(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="What 'fieldwave convert' wrote.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="JPEG or PNG files.")],
    device: Annotated[str, typer.Option(help="What computes: cpu, rtl, rtl:NPU.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Run images on a device and compare every quantized tensor with the normative model, byte by byte.

    The exit code is 0 when no byte differs, and 1 otherwise.
    """
    from fieldwave.devices import lease_device
    from fieldwave.package import read_package
    from fieldwave.verify import verify as compare

    opened = read_package(package)
    inputs = [_input(opened, image) for image in images]
    rows: list[dict[str, Any]] = []
    with lease_device(device, "verify") as owned, output.progress() as progress:
        for image, one in zip(images, compare(opened, owned, inputs), strict=True):
            rows.append(
                {
                    "image": str(image),
                    "tensors": len(one.checks),
                    "tensors_of_the_network": one.tensors,
                    "bytes": one.size,
                    "differing": one.differing,
                    "first_differing_tensor": next((c.tensor for c in one.checks if c.differing), ""),
                }
            )
            progress("comparing", len(rows) / len(images))
    differing = sum(row["differing"] for row in rows)
    if as_json:
        output.to_json({"device": device, "package": opened.digest, "images": rows, "differing": differing})
    else:
        header = ["IMAGE", "TENSORS", "BYTES", "DIFFERING"]
        output.table(
            header,
            [
                [
                    row["image"],
                    f"{row['tensors']} of {row['tensors_of_the_network']}",
                    f"{row['bytes']:,}",
                    f"{row['differing']:,}",
                ]
                for row in rows
            ],
        )
        total = sum(row["bytes"] for row in rows)
        verdict = "identical" if differing == 0 else "NOT identical"
        colour = "green" if differing == 0 else "red"
        output.data(f"{differing} of {total:,} bytes differ: {output.styled(verdict, fg=colour, bold=True)}")
    if differing:
        raise typer.Exit(1)


def _input(package: Package, image: Path) -> dict[str, NDArray[Any]]:
    from fieldwave.errors import ImageError, NotFoundError

    try:
        return package.image_input(image.read_bytes())
    except ImageError as error:
        raise ImageError(f"{image}: {error}") from None
    except OSError as error:
        raise NotFoundError(f"cannot read {image}: {error.strerror}") from None
