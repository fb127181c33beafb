"""llama.cpp's own server as an engine that the gateway starts, and the GGUF files that it loads."""
