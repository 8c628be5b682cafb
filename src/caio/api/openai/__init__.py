"""The surface that OpenAI's clients know: chat, embeddings, responses and models below ``/v1``."""
