"""Runs CAIO's migration as a task and waits for it: the code of a Lambda function that CloudFormation calls."""

import json
import time
import urllib.request
from typing import Any

import boto3

#: Less than the function's own 15 minutes: there must be time left to answer.
PATIENCE = 13 * 60


def ended(task: dict[str, Any], logs: str) -> str | None:
    code = task["containers"][0].get("exitCode")
    return None if code == 0 else f"The migration ended with {code}: {task.get('stoppedReason')}. See {logs}."


def migrate(ecs: Any, asked: dict[str, Any]) -> str | None:
    """None once the task has ended well; else what went wrong, for whoever reads the stack's events."""
    network = {"subnets": asked["Subnets"], "securityGroups": [asked["SecurityGroup"]], "assignPublicIp": "DISABLED"}
    started = ecs.run_task(
        cluster=asked["Cluster"], taskDefinition=asked["Task"], launchType="FARGATE", propagateTags="TASK_DEFINITION",
        networkConfiguration={"awsvpcConfiguration": network},
    )  # fmt: skip
    if started.get("failures"):
        return f"The migration was not started: {started['failures'][0].get('reason')}"
    arn = started["tasks"][0]["taskArn"]
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        # A task that was just started may not be known yet.
        for task in ecs.describe_tasks(cluster=asked["Cluster"], tasks=[arn])["tasks"]:
            if task["lastStatus"] == "STOPPED":
                return ended(task, asked["Logs"])
        time.sleep(5)
    return f"The migration has not ended within {PATIENCE} s. See {asked['Logs']}."


def handler(event: dict[str, Any], _context: object) -> None:
    asked = event["ResourceProperties"]
    try:
        # Nothing is undone when the stack goes: the database is kept or deleted by its own policy.
        failure = None if event["RequestType"] == "Delete" else migrate(boto3.client("ecs"), asked)
    except Exception as error:  # noqa: BLE001 - whatever it is, CloudFormation must hear of it or waits an hour
        failure = f"The migration could not be run: {error}"
    answer = {
        "Status": "FAILED" if failure else "SUCCESS",
        "Reason": failure or "migrated",
        "PhysicalResourceId": "caio-migration",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    body = json.dumps(answer).encode()
    request = urllib.request.Request(event["ResponseURL"], data=body, method="PUT", headers={"Content-Type": ""})  # noqa: S310
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - an address that CloudFormation made
