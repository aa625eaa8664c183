"""Every statement that binds a server has a test that names it, or a row in excused.tsv that says why none is possible."""
import collections

import document, statements

VERSION = None


def test_each_statement_is_tested_or_excused():
    tested = set(statements.tested()) | {(version, id) for version, id, _ in statements.excused()}
    missing = [f"{version} {id}: {row.paraphrase}" for (version, id), row in statements.rows().items() if row.required and (version, id) not in tested]
    assert not missing, "\n".join(missing)


def test_no_statement_is_both_tested_and_excused():
    both = [(version, id) for version, id, _ in statements.excused() if (version, id) in statements.tested()]
    assert not both


def test_each_test_names_statements_that_exist():
    unknown = {id: tests for id, tests in statements.tested().items() if id not in statements.rows()}
    assert not unknown


def test_each_excuse_is_for_one_statement_that_exists_and_gives_a_reason():
    excuses = statements.excused()
    assert not [row for row in excuses if row[:2] not in statements.rows() or not row[2].strip()]
    assert not [id for id, count in collections.Counter(row[:2] for row in excuses).items() if count > 1]


def test_the_article_says_what_is_tested_and_what_is_not():
    assert document.ARTICLE.read_text() == document.text(), "make docs-tables writes it anew"
