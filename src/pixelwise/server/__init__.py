"""The REST service and the page. It runs bundles and reads what training writes; it never imports torch."""
