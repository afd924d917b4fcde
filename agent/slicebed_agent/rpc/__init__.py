"""Generated gRPC modules; see protos/."""
