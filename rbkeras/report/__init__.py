"""`report.html`: one file about a run that people look at, without scripts or a network.

`gather` reads what a run directory has, the `sections_*` turn it into blocks (text, figures,
tables, galleries), and `page` fills the template. What is missing leaves a section with a
sentence in place of its content.
"""
