"""The verb `deploy` and its relatives: what runs on Pis that are already up."""
