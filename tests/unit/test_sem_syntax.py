"""The model language: what lavaan adds on its own, modifiers, constraints, and errors that point at their place."""

import numpy as np
import pytest

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import Model
from gsem_spark.methods.sem import expressions as ex
from gsem_spark.methods.sem.partable import parse_model
from gsem_spark.methods.sem.syntax import read

ONE = "F =~ a + b + c"


def rows(text, **settings):
    """The parameter table as short text: ``lhs op rhs free label ustart``."""
    frame = Model.parse(text, **settings).table()
    return [
        f"{r.lhs}{r.op}{r.rhs} {r.free}" + (f" {r.label}" if r.label else "") + ("" if np.isnan(r.ustart) else f" ={r.ustart:g}")
        for r in frame.itertuples()
    ]


def expression(text):
    return read(f"x ~~ x\ny := {text}").defined[0].expression


# --- automatic parameters: the tables that lavaan 0.6-14 prints for these texts ------------------------------------------
def test_first_loading_is_the_marker_and_variances_are_added():
    assert rows(ONE) == ["F=~a 0 =1", "F=~b 1", "F=~c 2", "a~~a 3", "b~~b 4", "c~~c 5", "F~~F 6"]
    assert rows(ONE, std_lv=True) == ["F=~a 1", "F=~b 2", "F=~c 3", "a~~a 4", "b~~b 5", "c~~c 6", "F~~F 0 =1"]


def test_outcomes_and_observed_predictors_covary():
    text = "F =~ x1 + x2 + x3\n y ~ F + z\n y2 ~ F + w"
    assert rows(text)[7:] == ["x1~~x1 7", "x2~~x2 8", "x3~~x3 9", "y~~y 10", "y2~~y2 11", "F~~F 12", "y~~y2 13",
                              "z~~z 14", "z~~w 15", "w~~w 16"]


def test_exogenous_factors_covary_and_endogenous_ones_do_not():
    text = "F =~ x1 + x2 + x3; G =~ z1 + z2; P =~ F + G; H =~ w; y ~ P; P ~ H"
    assert rows(text)[10:] == ["x1~~x1 7", "x2~~x2 8", "x3~~x3 9", "z1~~z1 10", "z2~~z2 11", "w~~w 0 =0", "y~~y 12",
                               "F~~F 13", "G~~G 14", "P~~P 15", "H~~H 16"]
    assert "F~~G" in " ".join(rows("F =~ a + b\nG =~ c + d"))


def test_a_predictor_in_a_covariance_is_no_longer_automatic():
    table = rows("y ~ x + z + y2; y2 ~ x; w ~~ w; q ~~ y")
    assert table[:6] == ["y~x 1", "y~z 2", "y~y2 3", "y2~x 4", "w~~w 5", "q~~y 6"]
    assert table[6:] == ["y~~y 7", "y2~~y2 8", "q~~q 9", "x~~x 10", "x~~z 11", "z~~z 12"]


def test_several_left_sides():
    assert rows("x1 + x2 ~~ x3 + y1")[:4] == ["x1~~x3 1", "x1~~y1 2", "x2~~x3 3", "x2~~y1 4"]


# --- modifiers ----------------------------------------------------------------------------------------------------------------
def test_modifiers_fix_free_label_and_start():
    assert rows("F =~ NA*a + 2*b + k*c + start(.5)*d; F ~~ 1*F; a ~~ 0*b; c ~~ -0.5*c")[:7] == [
        "F=~a 1", "F=~b 0 =2", "F=~c 2 k", "F=~d 3 =0.5", "F~~F 0 =1", "a~~b 0 =0", "c~~c 0 =-0.5",
    ]
    assert Model.parse("F =~ a + b + start(1/4)*c").paths[2].start == 0.25
    assert rows("F =~ 2*3*a + sqrt(4)*b + (1-3)*c")[:3] == ["F=~a 0 =6", "F=~b 0 =2", "F=~c 0 =-2"]


def test_several_modifiers_of_one_variable():
    assert rows("F =~ a + k*b + start(.4)*b + label(\"m\")*start(.3)*c + 'q'*d")[1:4] == [
        "F=~b 1 k =0.4", "F=~c 2 m =0.3", "F=~d 3 q",
    ]


def test_labels_make_parameters_equal_and_the_table_says_so():
    model = Model.parse("F =~ x1 + k*x2 + x3; G =~ z1 + k*z2 + z3")
    assert model.n_free == model.table()["free"].max() - 1
    assert rows("F =~ x1 + k*x2 + x3; G =~ z1 + k*z2 + z3")[-1] == ".p2.==.p5. 0"


def test_a_label_on_a_fixed_parameter_fixes_its_equals_and_is_said():
    parsed = parse_model("F =~ k*a + k*b + c")
    assert rows("F =~ k*a + k*b + c")[:3] == ["F=~a 0 k =1", "F=~b 0 k =1", "F=~c 1"]
    assert "label k is on F =~ a, which is fixed at 1; so F =~ b" in parsed.notes[0]
    assert parse_model("F =~ k*a + k*b + c", std_lv=True).notes == ()


def test_a_phantom_variable_and_a_labelled_constant():
    model = Model.parse("F =~ a + b + c; ph =~ 0; F ~ p*ph; ph ~~ v*ph + 1*ph; twice := 2*p*v")
    assert model.latent == ("F", "ph")
    assert model.constants == {"v": 1.0}
    assert model.defined_functions[0].value(model.path_values(np.arange(1.0, model.n_free + 1))) == pytest.approx(6.0)


# --- layout -------------------------------------------------------------------------------------------------------------------
def test_comments_semicolons_and_line_breaks():
    text = """
    # one factor
    F =~ a +   ! the marker
         b
         + c ; a ~~ r*a

    b ~~ r*b
    d := r
         ^ 2
    """
    assert rows(text) == rows("F =~ a + b + c\na ~~ r*a\nb ~~ r*b\nd := r^2")
    assert Model.parse("F =~ `my trait` + b.1 + _c + Größe").observed == ("my trait", "b.1", "_c", "Größe")


# --- constraints and definitions ----------------------------------------------------------------------------------------------
def test_arithmetic_has_the_usual_order():
    values = {"p": 2.0, "q": 3.0, "r": 0.5}
    for text, value in (("p+q*r", 3.5), ("(p+q)*r", 2.5), ("-p^2", -4.0), ("p^q^r", 2 ** (3**0.5)), ("p-q-r", -1.5),
                        ("p/q/r", 4 / 3), ("exp(log(p))*sqrt(q^2)", 6.0), ("abs(r-q)", 2.5), ("2e-1*p", 0.4), ("p^-1", 0.5)):
        node = expression(text)
        assert ex.evaluate(node, values) == pytest.approx(value), text
        assert ex.evaluate(expression(ex.to_text(node)), values) == pytest.approx(value), text
        assert ex.from_data(ex.to_data(node)) == node


@pytest.mark.parametrize("text", ["p*q+r/p", "exp(p*q)-log(r)", "sqrt(p+q^2)", "abs(r-q)*p", "(p-q)^3/r", "p^r", "-(p+q)^2"])
def test_derivatives_of_expressions_are_the_numeric_ones(text):
    values, h = {"p": 1.3, "q": 0.7, "r": 2.1}, 1e-5
    node = expression(text)
    for one in values:
        first = ex.derivative(node, one)
        up, down = ({**values, one: values[one] + s * h} for s in (1, -1))
        assert ex.evaluate(first, values) == pytest.approx((ex.evaluate(node, up) - ex.evaluate(node, down)) / (2 * h), abs=1e-8)
        for two in values:
            up, down = ({**values, two: values[two] + s * h} for s in (1, -1))
            second = (ex.evaluate(first, up) - ex.evaluate(first, down)) / (2 * h)
            assert ex.evaluate(ex.derivative(first, two), values) == pytest.approx(second, abs=1e-7)


def test_undefined_arithmetic_is_nan():
    assert np.isnan(ex.evaluate(expression("log(p)"), {"p": -1.0}))
    assert np.isnan(ex.evaluate(expression("1/p"), {"p": 0.0}))
    assert np.isnan(ex.evaluate(expression("p^.5"), {"p": -1.0}))


def test_relations_and_definitions_are_kept_with_the_model():
    model = Model.parse(ONE + "; a ~~ u*a; b ~~ v*b; u > .001; u <= v; u == 2*v; s := u + v; t := s^2")
    assert [c.text for c in model.constraints] == ["u > 0.001", "u <= v", "u == 2*v"]
    assert model.n_free == 6
    assert model.n_estimated == 5
    assert model.df == 1
    theta = np.arange(1.0, 7.0)
    assert [f.value(model.path_values(theta)) for f in model.defined_functions] == [7.0, 49.0]
    assert Model.from_dict(model.to_dict()) == model
    again = Model.parse(model.syntax)
    assert again.table().equals(model.table())


# --- errors -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("text", "where", "what"), [
    ("F =~ a b", "line 1, column 8", r"expected \+ and another variable, or a new line, not 'b'"),
    ("F =~ a +\nG =~ c", "line 1, column 9", "the formula ends where a variable"),
    ("F =~ a + (b", "line 1, column 12", "ends where a closing parenthesis"),
    ("F =~ a + = b", "line 1, column 10", "did you mean == or =~"),
    ("F a", "line 1, column 3", "expected an operator: =~, ~, ~~"),
    ("F =~ a\n G", "line 2, column 2", "expected"),
    ("y ~ 1", "line 1, column 5", "intercept"),
    ("F =~ c(1,2)*a", "line 1, column 6", "groups"),
    ("F =~ a\nF =~ b + a", "line 2, column 10", "given twice"),
    ("F =~ a + a", "line 1, column 10", "given twice"),
    ("F =~ a\na ~ F", "line 2, column 5", "given twice"),
    ("a ~~ b\nb ~~ a", "line 2, column 6", "given twice"),
    ("x := foo(2)", "line 1, column 6", "'foo' is not known"),
    ("F =~ k*m*a", "line 1, column 8", "two modifiers of the same kind"),
    ("F =~ a - b", "line 1, column 8", r"joined by \+"),
    ("2*F =~ a", "line 1, column 1", "left side of =~"),
    ("F =~ a +* b", "line 1, column 9", r"not '\*'"),
    ("F =~ 3", "line 1, column 6", "must end in a variable"),
    ("F =~ a $ b", "line 1, column 8", r"'\$' has no meaning"),
    ("F <~ a", "line 1, column 4", "not '~'"),
    ("F =~ prior(2)*a", "line 1, column 6", "not known"),
    ("F =~ start(k)*a", "line 1, column 12", "a modifier must be a number"),
])
def test_errors_point_at_their_place(text, where, what):
    with pytest.raises(ModelError, match=what) as caught:
        Model.parse(text)
    assert caught.value.where == f"model {where}"
    shown, pointer = str(caught.value).split("\n")[1:3]
    assert shown.strip() == text.split("\n")[int(where.split()[1].strip(",")) - 1].strip()
    assert len(pointer) - 4 == int(where.split()[-1])


@pytest.mark.parametrize(("text", "what"), [
    ("", "empty"), ("# only a comment", "no paths"), ("a ~ b\nb ~ c\nc ~ a", "in a circle: b → a → c → b"),
    ("F =~ a + b\nF ~ F", "to itself"), ("F =~ x + y\nF ~~ q*F\nq > z1", "uses the label 'z1'"),
    (ONE + "\na ~~ va*a\nd := vb*2", "uses the label 'vb', which no path has\nRemedy: did you mean va"),
    ("F =~ 1*x + k*x + 2*y + k*y", "different fixed values: F =~ x at 1, F =~ y at 2"),
    ("x ~~ x\na := b\nb := a", "defined by each other in a circle"), ("x ~~ k*x\nk := 3", "'k' is defined twice"),
])
def test_models_that_make_no_sense_are_refused(text, what):
    with pytest.raises(ModelError, match=what.replace("(", r"\(")):
        Model.parse(text)


def test_unknown_traits_name_the_nearest():
    with pytest.raises(ModelError, match="'WHRR' is neither a trait nor a factor") as caught:
        Model.parse("F =~ BMI + WHRR", traits=["BMI", "WHR"])
    assert caught.value.remedy == "did you mean WHR?"
    assert caught.value.where == "model line 1, column 12"
    with pytest.raises(ModelError, match="factor 'BMI' has the name of a trait"):
        Model.parse("BMI =~ WHR", traits=["BMI", "WHR"])
