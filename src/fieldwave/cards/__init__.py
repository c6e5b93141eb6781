"""Cards that vendors' tools build for: whole project folders, checked as far as open tools go."""

from __future__ import annotations

from fieldwave.cards.card import CARDS, Card, card
from fieldwave.cards.project import project_files, write_project

__all__ = ["CARDS", "Card", "card", "project_files", "write_project"]
