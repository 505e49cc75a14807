{# Raises a compiler error that names the first key of the variable `identity` that is not as it must be. #}
{% macro check_identity_rules(given) %}
    {% set at = 'identity' %}
    {% do revetl.check_mapping(at, given, ['identifiers', 'priority', 'blocked', 'models']) %}
    {% set given = given or {} %}
    {% set identifiers = given.get('identifiers', {'user_id': {}, 'email': {}, 'anonymous_id': {}}) %}
    {% do revetl.check_mapping(at ~ '.identifiers', identifiers) %}
    {% if not identifiers %}
        {% do revetl.wrong_rule(at ~ '.identifiers', 'is empty; name an identifier, such as user_id: {}') %}
    {% endif %}
    {% set models = given.get('models') or {} %}
    {% do revetl.check_mapping(at ~ '.models', models) %}
    {% for model in models %}
        {% do revetl.check_identity_model(at ~ '.models.' ~ model, model, models[model], identifiers) %}
    {% endfor %}
    {% for name in identifiers %}
        {% do revetl.check_identifier(at ~ '.identifiers.' ~ name, name, identifiers[name], models) %}
    {% endfor %}
    {% do revetl.check_blocked(at ~ '.blocked', given.get('blocked')) %}
    {% set priority = given.get('priority', []) %}
    {% if priority is string or priority is mapping or priority is not iterable %}
        {% do revetl.wrong_rule(at ~ '.priority', 'must be a list of identifiers, such as [user_id, email]') %}
    {% endif %}
    {% for name in priority if name not in identifiers %}
        {% do revetl.wrong_rule(at ~ '.priority', "names '" ~ name ~ "', which is none of the identifiers: "
            ~ identifiers | join(', ')) %}
    {% endfor %}
    {% if priority | unique | list | length < priority | length %}
        {% do revetl.wrong_rule(at ~ '.priority', 'names an identifier twice') %}
    {% endif %}
{% endmacro %}

{% macro check_identifier(at, name, own, models) %}
    {% if not modules.re.fullmatch('[a-z][a-z0-9_]*', name | string) %}
        {% do revetl.wrong_rule(at, 'is no name for an identifier; use lower-case letters, digits and underscores') %}
    {% endif %}
    {# `normalise` is the former spelling of `normalize`. #}
    {% set keys = ['column', 'context', 'trait', 'property', 'normalize', 'blocked', 'limit'] %}
    {% set normalize = 'normalise' if own is mapping and 'normalise' in own else 'normalize' %}
    {% if own is mapping and 'normalise' in own and 'normalize' in own %}
        {% do revetl.wrong_rule(at ~ '.normalise', "is the former spelling of 'normalize', which is also set; remove one of them") %}
    {% elif normalize == 'normalise' %}
        {% do revetl.check_mapping(at, own, keys + ['normalise']) %}
    {% else %}
        {% do revetl.check_mapping(at, own, keys) %}
    {% endif %}
    {% set own = own or {} %}
    {% for place in ['column', 'context', 'trait', 'property'] if place in own and own[place] is not string %}
        {% do revetl.wrong_rule(at ~ '.' ~ place, 'must be the name of one, such as ' ~ name) %}
    {% endfor %}
    {% if not revetl.is_placed(own) and name not in revetl.standard_identifiers()
        and not revetl.is_elsewhere(name, models) %}
        {% do revetl.wrong_rule(at, 'does not say where it is seen; give it a trait, property, context or column, '
            ~ 'or an expression under identity.models') %}
    {% endif %}
    {% set steps = own.get(normalize, []) %}
    {% for step in ([steps] if steps is string or steps is mapping else steps or []) %}
        {% if step is mapping %}
            {% do revetl.check_mapping(at ~ '.' ~ normalize, step, ['regex', 'with']) %}
            {% if step.get('regex') is not string or step.get('with', '') is not string %}
                {% do revetl.wrong_rule(at ~ '.' ~ normalize, "must have a pattern and a text, as {regex: '\\s+', with: ''}") %}
            {% endif %}
        {% elif step not in ['lower', 'trim', 'digits'] %}
            {% do revetl.wrong_rule(at ~ '.' ~ normalize, "has '" ~ step
                ~ "'; a step is one of lower, trim, digits, {regex: ..., with: ...}") %}
        {% endif %}
    {% endfor %}
    {% do revetl.check_blocked(at ~ '.blocked', own.get('blocked')) %}
    {% do revetl.check_limit(at ~ '.limit', own.get('limit')) %}
{% endmacro %}

{% macro check_limit(at, limit) %}
    {% if limit is mapping %}
        {% do revetl.check_mapping(at, limit, ['ever', 'week', 'month', 'year']) %}
        {% for window in limit %}
            {% do revetl.check_limit_number(at ~ '.' ~ window, limit[window]) %}
        {% endfor %}
    {% elif limit is not none and limit != 'none' %}
        {% do revetl.check_limit_number(at, limit) %}
    {% endif %}
{% endmacro %}

{% macro check_limit_number(at, number) %}
    {% if number is not integer or number is boolean or number < 1 %}
        {% do revetl.wrong_rule(at, "is '" ~ number ~ "'; it must be a whole number from 1, none, or a mapping "
            ~ 'of ever, week, month and year to numbers') %}
    {% endif %}
{% endmacro %}

{% macro check_blocked(at, values) %}
    {% if values is not none and (values is string or values is mapping or values is not iterable) %}
        {% do revetl.wrong_rule(at, "must be a list of values and /patterns/, such as ['null', '/^test-/']") %}
    {% endif %}
    {% for value in values or [] if value is mapping or (value is iterable and value is not string) %}
        {% do revetl.wrong_rule(at, "has '" ~ value ~ "', which is no value") %}
    {% endfor %}
{% endmacro %}

{% macro check_identity_model(at, model, own, identifiers) %}
    {% do revetl.check_mapping(at, own, ['message_id', 'timestamp', 'identifiers']) %}
    {% set own = own or {} %}
    {% if model not in revetl.message_models() %}
        {% for column in ['message_id', 'timestamp'] if own.get(column) is not string %}
            {% do revetl.wrong_rule(at ~ '.' ~ column, 'is missing; give it a column of ' ~ model
                ~ ', or an SQL expression') %}
        {% endfor %}
    {% endif %}
    {% if not own.get('identifiers') %}
        {% do revetl.wrong_rule(at ~ '.identifiers', 'is missing; give it SQL expressions by identifier, '
            ~ 'such as {email: email_address}') %}
    {% endif %}
    {% do revetl.check_mapping(at ~ '.identifiers', own.identifiers) %}
    {% for name in own.identifiers %}
        {% if name not in identifiers %}
            {% do revetl.wrong_rule(at ~ '.identifiers.' ~ name, 'is none of the identifiers: '
                ~ identifiers | join(', ')) %}
        {% elif own.identifiers[name] is not string %}
            {% do revetl.wrong_rule(at ~ '.identifiers.' ~ name, 'must be a column or an SQL expression') %}
        {% endif %}
    {% endfor %}
{% endmacro %}

{# Raises unless a value is a mapping (or nothing) of keys that are known. #}
{% macro check_mapping(at, value, keys=none) %}
    {% if value is not none and value is not mapping %}
        {% do revetl.wrong_rule(at, "is '" ~ value ~ "'; it must be a mapping"
            ~ (' of ' ~ keys | join(', ') if keys else '')) %}
    {% endif %}
    {% for key in value or {} if keys and key not in keys %}
        {% do revetl.wrong_rule(at ~ '.' ~ key, 'is not known; the keys here are ' ~ keys | join(', ')) %}
    {% endfor %}
{% endmacro %}

{% macro wrong_rule(at, what) %}
    {% do exceptions.raise_compiler_error('vars.revetl.' ~ at ~ ' ' ~ what ~ '.') %}
{% endmacro %}
