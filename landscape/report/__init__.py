"""The report: one self-contained page that compares landscape files, class by class."""

from landscape.report.write import Report, write_report

__all__ = ["Report", "write_report"]
