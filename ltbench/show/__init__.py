"""Output for readers: tables, one record, studies, figures, the page."""
