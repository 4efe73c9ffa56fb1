#!/usr/bin/env python3
print("Goodbye World")
