"""The limits that keep each class, function and package small enough to read as a whole."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from tests.repository import modules

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def attributes(node: ast.ClassDef) -> set[str]:
    """Return the attributes that the methods of a class assign; the fields of a record are none."""
    return {
        child.attr
        for child in ast.walk(node)
        if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store)
        if isinstance(child.value, ast.Name) and child.value.id == "self"
    }


def excesses(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(child, _FUNCTIONS) for child in node.body)
            if lines(node) > 300 or methods > 20 or len(attributes(node)) > 12:
                yield f"{node.name}: {lines(node)} lines, {methods} methods, {attributes(node)}"
        elif isinstance(node, _FUNCTIONS) and lines(node) > 50:
            yield f"{node.name}: {lines(node)} lines"


def logic(tree: ast.Module) -> Iterator[str]:
    """Yield every statement but imports, the docstring, and names such as `__all__`."""
    for node in tree.body:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant()):
                pass
            case ast.Assign([ast.Name("__all__" | "__version__")]):
                pass
            case _:
                yield ast.unparse(node)


def test_no_class_or_function_is_too_large() -> None:
    found = {file: list(excesses(tree)) for file, tree in modules().items()}
    assert {file: names for file, names in found.items() if names} == {}


def test_a_public_class_name_is_used_once() -> None:
    names = Counter(
        node.name
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_a_package_file_has_no_logic() -> None:
    packages = {file: tree for file, tree in modules().items() if file.endswith("__init__.py")}
    assert {file for file, tree in packages.items() if list(logic(tree))} == set()


def test_every_excess_is_found() -> None:
    methods = "\n".join(f"    def m{number}(self): self.a{number} = 0" for number in range(13))
    long = "def f():\n" + "    x = 1\n" * 50
    more = "class C:\n" + "\n".join(f"    def m{number}(self): ..." for number in range(21))
    large = "class D:\n" + "    x = 1\n" * 300
    tree = ast.parse("\n".join([f"class A:\n{methods}", long, more, large]))
    assert [text.partition(":")[0] for text in excesses(tree)] == ["A", "f", "C", "D"]
    allowed = '"""A package."""\nfrom a import b\n__all__ = ["b"]\n'
    assert list(logic(ast.parse(allowed + "if b:\n    c = b()"))) == ["if b:\n    c = b()"]
    assert list(logic(ast.parse(allowed))) == []
