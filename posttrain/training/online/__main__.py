"""The training process: reads the job that it is given, trains, tells how that ended."""

from posttrain.process import serve
from posttrain.training.online.job import OnlineJob
from posttrain.training.online.stage import run

if __name__ == "__main__":
    serve(OnlineJob, run)
