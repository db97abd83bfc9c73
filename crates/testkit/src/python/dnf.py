"""Answers questions about what dnf would install into an empty root: one JSON document a line, one answer a line.

Arguments: a scratch directory, then NAME=DIRECTORY of each repository. First of all it answers how many packages
it knows.

{"install": [name, ...]}: what `dnf install NAME...` would install.
{"exactly": [nevra, ...]}: the same when these packages are asked for, and no other.
    Both: {"packages": [nevra, ...] or null, "problem": text or null, "cpu_seconds": of the resolving alone}
{"provides": [dependency, ...]}: for each dependency the packages that provide it, or own it when it is a path.
"""

import json
import os
import sys
import time

import dnf

scratch, *repositories = sys.argv[1:]
base = dnf.Base()
conf = base.conf
conf.installroot = os.path.join(scratch, "root")
conf.cachedir = os.path.join(scratch, "cache")
conf.persistdir = os.path.join(scratch, "persist")
conf.logdir = os.path.join(scratch, "log")
os.makedirs(conf.logdir, exist_ok=True)
conf.reposdir = []
conf.plugins = False
conf.gpgcheck = False
conf.install_weak_deps = False
conf.best = False
conf.releasever = "1"
conf.module_platform_id = "platform:x"
conf.substitutions["arch"] = "x86_64"
conf.substitutions["basearch"] = "x86_64"
for repository in repositories:
    name, _, directory = repository.partition("=")
    base.repos.add_new_repo(name, conf, baseurl=["file://" + directory], metadata_expire=0)
base.fill_sack(load_system_repo=False)
known = {str(package): package for package in base.sack.query()}


def resolve(packages):
    """Resolves what is asked for by now."""
    start = time.process_time()
    try:
        base.resolve()
    except dnf.exceptions.Error as error:
        return {"packages": None, "problem": str(error), "cpu_seconds": time.process_time() - start}
    cpu_seconds = time.process_time() - start
    chosen = sorted(str(package) for package in base.transaction.install_set)
    return {"packages": chosen, "problem": None, "cpu_seconds": cpu_seconds}


def install(names):
    base.reset(goal=True)
    try:
        for name in names:
            base.install(name)
    except dnf.exceptions.Error as error:
        return {"packages": None, "problem": str(error), "cpu_seconds": 0.0}
    return resolve(names)


def exactly(nevras):
    base.reset(goal=True)
    for nevra in nevras:
        base.goal.install(known[nevra])
    return resolve(nevras)


def provides(dependencies):
    answers = []
    for dependency in dependencies:
        found = base.sack.query().filter(provides=dependency)
        if dependency.startswith("/"):
            found = found.union(base.sack.query().filter(file=dependency))
        answers.append(sorted(str(package) for package in found))
    return answers


def answer(question):
    if "install" in question:
        return install(question["install"])
    if "exactly" in question:
        return exactly(question["exactly"])
    return provides(question["provides"])


print(len(known), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
