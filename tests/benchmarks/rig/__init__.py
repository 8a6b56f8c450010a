"""What measures a cold start: the built artefacts, Lambda's runtime client, an AWS and a Vapi behind TLS that count."""
