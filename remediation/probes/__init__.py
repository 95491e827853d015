"""All that asks a service anything, each with a deadline and one way to say why there was no answer."""
