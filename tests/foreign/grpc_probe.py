"""Asks a gRPC server, as any client that has never heard of Solo would, what it offers and whether it is healthy.

usage: grpc_probe.py PORT SERVICE; prints one line a service, fails with a sentence.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from google.protobuf.descriptor_pool import DescriptorPool

port, wanted = sys.argv[1:]
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    reflected = ProtoReflectionDescriptorDatabase(channel)
    services = list(reflected.get_services())
    if wanted not in services:
        sys.exit(f"{wanted} is not among {services}")
    methods = [m.name for m in DescriptorPool(reflected).FindServiceByName(wanted).methods]
    if not methods:
        sys.exit(f"{wanted} has no methods")
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", wanted):
        status = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status
        if status != health_pb2.HealthCheckResponse.SERVING:
            sys.exit(f"health of {name!r} is {status}")
    print(wanted, *methods)
