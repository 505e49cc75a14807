{# Conditions and windows: first what YAML says of them, checked; then as SQL over the columns of `int_revetl__trait_events`. #}

{# A column of `int_revetl__trait_events`: which document it is read from, by which path, and as what (`text`, `number` or `time`; an
   `array` is kept whole, and `element` is the path within each of its elements). #}
{% macro trait_place(at, given, kind) %}
    {% set found = [] %}
    {% for key, document in {'property': 'properties', 'context': 'context'}.items() if given.get(key) is not none %}
        {% if given[key] is not string or not modules.re.fullmatch('[^\\[\\]."\'\\\\]+(\\.[^\\[\\]."\'\\\\]+)*(\\[\\](\\.[^\\[\\]."\'\\\\]+)+)?', given[key]) %}
            {% do revetl.wrong_trait(at ~ '.' ~ key, "is '" ~ given[key]
                ~ "'; write a path such as total, shipping.city or products[].name") %}
        {% endif %}
        {% do found.append((document, given[key])) %}
    {% endfor %}
    {% if found | length != 1 %}
        {% do revetl.wrong_trait(at, 'must have either a property or a context, such as property: total') %}
    {% endif %}
    {% set document, path = found[0] %}
    {% if document == 'context' and '[]' in path %}
        {% do revetl.wrong_trait(at ~ '.context', "is '" ~ path ~ "'; only a property may be an array") %}
    {% endif %}
    {% set parts = path.split('[].') %}
    {% if parts | length == 2 %}
        {{ return({
            'document': document, 'path': parts[0], 'kind': 'array', 'name': revetl.trait_column(document, parts[0], 'array'),
            'element': {'path': parts[1], 'kind': kind, 'name': revetl.trait_column('element', parts[1], kind)},
        }) }}
    {% endif %}
    {{ return({'document': document, 'path': path, 'kind': kind, 'name': revetl.trait_column(document, path, kind), 'element': none}) }}
{% endmacro %}

{# The name of such a column. #}
{% macro trait_column(document, path, kind) %}
    {% set plain = path.replace('.', '__') %}
    {# What is lost on the way to a plain name tells two paths apart. #}
    {% if '__' in path or plain | length > 30 or not modules.re.fullmatch('[a-z0-9_]+', plain) %}
        {% set plain = modules.re.sub('[^a-z0-9]+', '_', path | lower)[:30] ~ '_' ~ local_md5(path)[:6] %}
    {% endif %}
    {{ return(document ~ '_' ~ plain ~ ('' if kind == 'text' else '_as_' ~ kind)) }}
{% endmacro %}

{# Operators by what they compare. #}
{% macro trait_operators() %}
    {{ return({
        'equals': 'any', 'not_equals': 'any', 'one_of': 'list',
        'less_than': 'number', 'less_than_or_equal': 'number', 'greater_than': 'number', 'greater_than_or_equal': 'number',
        'contains': 'text', 'not_contains': 'text', 'starts_with': 'text', 'ends_with': 'text',
        'exists': 'nothing', 'not_exists': 'nothing',
        'before_date': 'time', 'after_date': 'time', 'within_last': 'span',
    }) }}
{% endmacro %}

{# `{property: total, greater_than: 100}` as place, operator and value. #}
{% macro trait_condition(at, given) %}
    {% set operators = revetl.trait_operators() %}
    {% do revetl.check_trait_mapping(at, given, ['property', 'context'] + operators | list) %}
    {% set named = [] %}
    {% for operator in operators if operator in given %}
        {% do named.append(operator) %}
    {% endfor %}
    {% if named | length != 1 %}
        {% do revetl.wrong_trait(at, 'must have one operator: ' ~ operators | join(', ')) %}
    {% endif %}
    {% set operator = named[0] %}
    {% set value = given[operator] %}
    {% set compares = operators[operator] %}
    {% set kind = 'text' %}
    {% if compares == 'number' or (compares == 'any' and value is number and value is not boolean) %}
        {% if value is not number or value is boolean %}
            {% do revetl.wrong_trait(at ~ '.' ~ operator, "is '" ~ value ~ "'; it must be a number") %}
        {% endif %}
        {% set kind = 'number' %}
    {% elif compares == 'list' %}
        {% if value is string or value is mapping or value is not iterable or not value %}
            {% do revetl.wrong_trait(at ~ '.' ~ operator, 'must be a list of values, such as [EUR, USD]') %}
        {% endif %}
        {% set kind = 'text' if value | select('string') | list else 'number' %}
    {% elif compares == 'time' %}
        {% set value = revetl.trait_moment(at ~ '.' ~ operator, value) %}
        {% set kind = 'time' %}
    {% elif compares == 'span' %}
        {% set value = revetl.trait_hours(at ~ '.' ~ operator, value) %}
        {% set kind = 'time' %}
    {% elif compares == 'text' and (value is not string or not value) %}
        {% do revetl.wrong_trait(at ~ '.' ~ operator, 'must be a text') %}
    {% elif compares == 'nothing' and value is not sameas true %}
        {% do revetl.wrong_trait(at ~ '.' ~ operator, 'must be true') %}
    {% elif compares == 'any' and (value is mapping or (value is iterable and value is not string)) %}
        {% do revetl.wrong_trait(at ~ '.' ~ operator, 'must be one value; use one_of for a list') %}
    {% elif compares == 'any' and value is none %}
        {% do revetl.wrong_trait(at ~ '.' ~ operator, 'is nothing; use exists: true or not_exists: true') %}
    {% endif %}
    {% set place = revetl.trait_place(at, given, kind) %}
    {{ return({'place': place, 'operator': operator, 'value': value, 'kind': kind}) }}
{% endmacro %}

{# `30 days` as hours. #}
{% macro trait_hours(at, span) %}
    {% set units = {'hour': 1, 'day': 24, 'week': 168} %}
    {% set parts = (span | string).split() %}
    {% set unit = units.get((parts[1] if parts | length == 2 else '').rstrip('s')) %}
    {% if unit is none or not modules.re.fullmatch('[0-9]+', parts[0]) or parts[0] | int == 0 %}
        {% do revetl.wrong_trait(at, "is '" ~ span ~ "'; write a time such as 30 days, 12 hours or 2 weeks") %}
    {% endif %}
    {{ return(parts[0] | int * unit) }}
{% endmacro %}

{# A date or moment as text. #}
{% macro trait_moment(at, value) %}
    {% set found = modules.re.fullmatch(
        '([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?)?', value | string) %}
    {% set is_leap = found and found[1] | int % 4 == 0 and (found[1] | int % 100 != 0 or found[1] | int % 400 == 0) %}
    {% set lengths = [31, 29 if is_leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] %}
    {% if not found or not 1 <= found[3] | int <= lengths[found[2] | int - 1] %}
        {% do revetl.wrong_trait(at, "is '" ~ value ~ "'; write a date such as 2026-01-31, or 2026-01-31 12:00:00 in UTC") %}
    {% endif %}
    {{ return((value | string).replace('T', ' ')) }}
{% endmacro %}

{# `{last: 30 days}`, `{from: ..., to: ...}` or `{this: month}`; without one, all time. #}
{% macro trait_window(at, given) %}
    {% if given is none %}
        {{ return({}) }}
    {% endif %}
    {% do revetl.check_trait_mapping(at, given, ['last', 'from', 'to', 'this']) %}
    {% set found = {} %}
    {% if 'last' in given %}
        {% do found.update({'hours': revetl.trait_hours(at ~ '.last', given['last'])}) %}
    {% endif %}
    {% for end in ['from', 'to'] if given.get(end) is not none %}
        {% do found.update({end: revetl.trait_moment(at ~ '.' ~ end, given[end])}) %}
    {% endfor %}
    {% if 'this' in given %}
        {% if given.this not in ['day', 'week', 'month', 'quarter', 'year'] %}
            {% do revetl.wrong_trait(at ~ '.this', "is '" ~ given.this ~ "'; it must be day, week, month, quarter or year") %}
        {% endif %}
        {% do found.update({'this': given.this}) %}
    {% endif %}
    {% if not found or ('hours' in found) + ('this' in found) + ('from' in found or 'to' in found) != 1 %}
        {% do revetl.wrong_trait(at, 'must be one of {last: 30 days}, {from: 2026-01-01, to: 2026-02-01} and {this: month}') %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}

{# Whether a row counts for a trait, as a condition; `rows` is the alias of `int_revetl__trait_events`, or of its elements. #}
{% macro trait_filter(trait, rows) -%}
    {% set parts = [] -%}
    {% if trait.events is not none -%}
        {% set names = [] -%}
        {% for event in trait.events -%}
            {% do names.append(revetl.text_literal(event)) -%}
        {% endfor -%}
        {% do parts.append(rows ~ '.event in (' ~ names | join(', ') ~ ')') -%}
    {% endif -%}
    {% do parts.append(rows ~ ".source = '" ~ trait.source ~ "'") -%}
    {% for condition in trait.conditions -%}
        {% do parts.append(revetl.condition_sql(condition, rows)) -%}
    {% endfor -%}
    {% do parts.extend(revetl.window_sql(trait.window, rows ~ '.timestamp')) -%}
    {{ return(parts | join(' and ')) }}
{%- endmacro %}

{# A window as conditions of a moment. #}
{% macro window_sql(window, moment) %}
    {% set timestamp = revetl.type_of('timestamp') %}
    {% set parts = [] %}
    {% if 'hours' in window %}
        {% do parts.append(moment ~ ' > ' ~ revetl.hours_before(revetl.as_of(), window.hours)) %}
    {% endif %}
    {% if 'this' in window %}
        {% do parts.append(moment ~ ' >= ' ~ revetl.start_of(window.this, revetl.as_of())) %}
    {% endif %}
    {% if 'hours' in window or 'this' in window %}
        {% do parts.append(moment ~ ' <= ' ~ revetl.as_of()) %}
    {% endif %}
    {% for end, sign in {'from': ' >= ', 'to': ' < '}.items() if end in window %}
        {% do parts.append(moment ~ sign ~ "cast('" ~ window[end] ~ "' as " ~ timestamp ~ ')') %}
    {% endfor %}
    {{ return(parts) }}
{% endmacro %}

{# A condition as SQL. What is absent equals nothing and contains nothing. #}
{% macro condition_sql(condition, rows) %}
    {% set place = condition.place.element or condition.place %}
    {{ return(revetl.operator_sql(condition.operator, rows ~ '.' ~ place.name, condition.value, condition.kind)) }}
{% endmacro %}

{# An operator of a column that is a `text`, a `number` or a `time`. #}
{% macro operator_sql(operator, column, value, kind) %}
    {% set signs = {'equals': '=', 'less_than': '<', 'less_than_or_equal': '<=', 'greater_than': '>',
        'greater_than_or_equal': '>=', 'before_date': '<', 'after_date': '>'} %}
    {% set literals = [] %}
    {% for each in (value if operator == 'one_of' else [value]) %}
        {% do literals.append(revetl.condition_literal(kind, each)) %}
    {% endfor %}
    {% if operator in signs %}
        {{ return(column ~ ' ' ~ signs[operator] ~ ' ' ~ literals[0]) }}
    {% elif operator == 'not_equals' %}
        {{ return('(' ~ column ~ ' is null or ' ~ column ~ ' <> ' ~ literals[0] ~ ')') }}
    {% elif operator == 'one_of' %}
        {{ return(column ~ ' in (' ~ literals | join(', ') ~ ')') }}
    {% elif operator == 'exists' %}
        {{ return(column ~ ' is not null') }}
    {% elif operator == 'not_exists' %}
        {{ return(column ~ ' is null') }}
    {% elif operator == 'within_last' %}
        {{ return('(' ~ revetl.window_sql({'hours': value}, column) | join(' and ') ~ ')') }}
    {% elif operator == 'not_contains' %}
        {{ return('(' ~ column ~ ' is null or not ' ~ revetl.contains(column, value) ~ ')') }}
    {% endif %}
    {{ return({'contains': revetl.contains, 'starts_with': revetl.starts_with, 'ends_with': revetl.ends_with}[operator](column, value)) }}
{% endmacro %}

{% macro condition_literal(kind, value) %}
    {% if kind == 'number' %}
        {{ return(value | string) }}
    {% elif kind == 'time' %}
        {{ return("cast('" ~ value ~ "' as " ~ revetl.type_of('timestamp') ~ ')') }}
    {% endif %}
    {{ return(revetl.text_literal('true' if value is sameas true else 'false' if value is sameas false else value | string)) }}
{% endmacro %}
