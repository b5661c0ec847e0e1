"""The review page: a small web app on which people rank, rate, correct and judge. See `app.create_app`."""

from posttrain.review.app import Site, create_app

__all__ = ["Site", "create_app"]
