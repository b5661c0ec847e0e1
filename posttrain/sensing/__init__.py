"""Sensing: is there news that a retraining could use? Pure functions of what lies there and what was seen before.

| module | idea |
| --- | --- |
| `watermark` | how far the data, the answers and the requests had come when a run was last started |
| `drift` | are these requests of another kind than those prompts? |
| `requests` | what users asked lately, tested for drift |
| `news` | what is new, in words |

Starts nothing, and knows nothing of Prefect.
"""

from posttrain.sensing.drift import Drift, measure_drift
from posttrain.sensing.news import News, whats_new
from posttrain.sensing.watermark import Watermark, keep, last, look, without_news

__all__ = ["Drift", "News", "Watermark", "keep", "last", "look", "measure_drift", "whats_new", "without_news"]
