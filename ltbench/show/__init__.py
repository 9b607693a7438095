"""What people look at: tables, one record, figures, the page."""
