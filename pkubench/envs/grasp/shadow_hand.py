"""The ShadowHand without forearm and wrist, from the model files of the gymnasium-robotics wheel.

The package itself is not imported: only its XML and, for pictures, its meshes are read. The model
is OpenAI's (Apache License 2.0, the notice is beside the files); what UniDexGrasp++ (Wan et al.,
ICCV 2023, arXiv 2304.00464) changes of it is changed here: the palm is the free root and weighs
4 kg, and the last joint of each finger but the thumb follows the one before it by a tendon.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

from pkubench.errors import MissingExtra

PREFIX = "robot0:"
PALM = f"{PREFIX}palm"
FINGERS = ("ff", "mf", "rf", "lf", "th")
"""First to little finger, then the thumb: the order of everything that is per finger."""
FINGERTIPS = tuple(f"{PREFIX}{finger}distal" for finger in FINGERS)

PALM_MASS_KG = 4.0
PALM_INERTIA = (0.01, 0.01, 0.0075)
"""Principal moments in kg m²."""
COUPLING = (0.00705, -0.00805)
"""Coefficients of J0 and J1 in the tendon of each finger but the thumb."""
COUPLING_RANGE = 0.001

_COLLISION = f"{PREFIX}DC_Hand"
_VISUAL = f"{PREFIX}D_Vizual"
_CLASS = f"{PREFIX}asset_class"


def assets() -> Path:
    """Return the folder of the wheel's model files.

    Raises:
        MissingExtra: gymnasium-robotics is not installed.
    """
    found = importlib.util.find_spec("gymnasium_robotics")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("mujoco", "the ShadowHand")
    return Path(next(iter(found.submodule_search_locations))) / "envs" / "assets"


def shadow_hand_xml(is_drawn: bool = False) -> str:
    """Return the hand as MJCF: one free body, 22 hinges, 18 position actuators.

    Args:
        is_drawn: with the meshes that are seen and touch nothing.

    Raises:
        MissingExtra: gymnasium-robotics is not installed.
    """
    folder = assets()
    parts = {
        name: ElementTree.parse(folder / "hand" / f"{name}.xml").getroot()
        for name in ("robot", "shared", "shared_asset")
    }
    palm = next(body for body in parts["robot"].iter("body") if body.get("name") == PALM)
    _free(palm)
    _prepare_bodies(palm, is_drawn)
    root = ElementTree.Element("mujoco", model="grasp")
    meshes = str(folder / "stls" / "hand")
    ElementTree.SubElement(root, "compiler", angle="radian", meshdir=meshes)
    default = ElementTree.SubElement(root, "default")
    default.append(_defaults())
    if is_drawn:
        asset = ElementTree.SubElement(root, "asset")
        used = {geom.get("mesh") for geom in palm.iter("geom")}
        asset.extend(
            mesh for mesh in parts["shared_asset"].iter("mesh") if mesh.get("name") in used
        )
    ElementTree.SubElement(root, "worldbody").append(palm)
    contact = ElementTree.SubElement(root, "contact")
    contact.extend(_pairs(parts["shared"]))
    tendon = ElementTree.SubElement(root, "tendon")
    tendon.extend(_tendon(finger.upper()) for finger in FINGERS[:-1])
    actuator = ElementTree.SubElement(root, "actuator")
    actuator.extend(_actuators(parts["shared"]))
    return ElementTree.tostring(root, encoding="unicode")


def _free(palm: ElementTree.Element) -> None:
    """Make the palm the free root."""
    for joint in palm.findall("joint"):  # the wrist
        palm.remove(joint)
    palm.set("pos", "0 0 0")
    palm.set("childclass", _CLASS)
    palm.insert(0, ElementTree.Element("freejoint", name="hand"))
    # Forces act on the centre of mass and drag on the origin: they coincide, so that a force alone
    # does not turn the hand.
    palm.find("inertial").attrib.clear()  # type: ignore[union-attr]
    palm.find("inertial").attrib.update(  # type: ignore[union-attr]
        pos="0 0 0", mass=str(PALM_MASS_KG), diaginertia=" ".join(map(str, PALM_INERTIA))
    )


def _prepare_bodies(palm: ElementTree.Element, is_drawn: bool) -> None:
    for body in palm.iter("body"):
        for site in body.findall("site"):
            body.remove(site)
        for geom in body.findall("geom"):
            collides = geom.get("class") == _COLLISION
            if not collides and not is_drawn:
                body.remove(geom)
            elif collides:
                geom.attrib.pop("condim", None)
                geom.attrib.pop("rgba", None)
            else:  # the two boxes of the thumb have no class
                geom.set("class", _VISUAL)
                if geom.get("mesh") is None:
                    body.remove(geom)
    for joint in palm.iter("joint"):
        joint.attrib.pop("user", None)


def _defaults() -> ElementTree.Element:
    hand = ElementTree.Element("default", {"class": _CLASS})
    ElementTree.SubElement(
        hand, "joint", limited="true", damping="0.1", armature="0.001", margin="0.01"
    )
    ElementTree.SubElement(hand, "position", ctrllimited="true", forcelimited="true")
    collision = ElementTree.SubElement(hand, "default", {"class": _COLLISION})
    ElementTree.SubElement(collision, "geom", margin="0.0005", group="4", rgba="0.5 0.5 0.55 1")
    visual = ElementTree.SubElement(hand, "default", {"class": _VISUAL})
    ElementTree.SubElement(
        visual,
        "geom",
        type="mesh",
        contype="0",
        conaffinity="0",
        group="1",
        rgba="0.93 0.93 0.93 1",
    )
    return hand


def _pairs(shared: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the parts of the hand that touch each other, each pair once."""
    found: dict[tuple[str, str], ElementTree.Element] = {}
    for pair in shared.iter("pair"):
        found.setdefault((pair.get("geom1", ""), pair.get("geom2", "")), pair)
    return list(found.values())


def _tendon(finger: str) -> ElementTree.Element:
    tendon = ElementTree.Element(
        "fixed",
        name=f"{PREFIX}T_{finger}J1c",
        limited="true",
        range=f"{-COUPLING_RANGE} {COUPLING_RANGE}",
    )
    for number, coefficient in enumerate(COUPLING):
        joint = f"{PREFIX}{finger}J{number}"
        ElementTree.SubElement(tendon, "joint", joint=joint, coef=str(coefficient))
    return tendon


def _actuators(shared: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the 18 position actuators of the fingers, without those of the wrist."""
    found = []
    for actuator in shared.iter("position"):
        if "WRJ" not in actuator.get("joint", ""):
            actuator.attrib.pop("user", None)
            found.append(actuator)
    return found
