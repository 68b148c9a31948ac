"""The OpenAPI document: all routes of the bridge itself, derived from `api/routes.py` and the shapes.

`document.py` is the way in. Nothing about a route is written here a second time: paths, parameters, errors and shapes
come from the table of routes, from the classes of errors and from the structs.
"""
