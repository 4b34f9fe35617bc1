"""Tables: their schemas, where they are kept, and the ledger of runs."""
