"""What people say of outputs and rows: kept in a store, asked for on the review page, and turned into data.

    store = open_store(loaded)                 # SQLite beside the runs, or Postgres by URL
    store.add([Item.new("correction", prompt, outputs=[Output(bad, "voice-assistant v3")], tag="bad_case")])

The next run of the spec finds the answers by itself (`rows_for_training.with_feedback`).
"""

from posttrain.feedback.answers import Answer
from posttrain.feedback.items import Item, Kind, Output
from posttrain.feedback.store import FeedbackStore

__all__ = ["Answer", "FeedbackStore", "Item", "Kind", "Output"]
