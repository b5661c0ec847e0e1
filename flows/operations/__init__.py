"""What keeps the flows running on machines: servers, workers, deployments and schedules, lost runs."""
