"""Steps shaped by the structure of a matrix: Muon, Shampoo, SOAP, low-rank projections."""
