"""What clients in any language rely on: the generated code is current, changes only add, every RPC is explained."""
