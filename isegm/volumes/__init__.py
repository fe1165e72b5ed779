"""CT volumes of any format: how they lie in the patient, their values, the windows these are seen in."""
