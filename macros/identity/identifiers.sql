{# The id of an identifier: it is what a canonical id is. #}
{% macro identifier_id(type, value) -%}
    {{ revetl.hash_text(dbt.concat([type, "':'", value])) }}
{%- endmacro %}

{# The same as a whole number, by which identifiers are joined: a third of the time that texts take. #}
{% macro node_id(type, value) -%}
    {{ revetl.hash_bits(dbt.concat([type, "':'", value])) }}
{%- endmacro %}

{# The place of an identifier's type in the priority, from 1. #}
{% macro identifier_rank(type) -%}
    case {{ type }}
        {%- for known in revetl.identity_rules().types %}
        when '{{ known.name }}' then {{ known.rank }}
        {%- endfor %}
    end
{%- endmacro %}

{# A value as identifiers of a type are compared: its normalisation, step by step; null where nothing is left. #}
{% macro normalised_identifier(value, steps) -%}
    {% set ladder = namespace(sql='cast(' ~ value ~ ' as ' ~ revetl.type_of('varchar') ~ ')') -%}
    {% for step in steps -%}
        {% if step is mapping -%}
            {% set ladder.sql = revetl.replace_matches(ladder.sql, step.regex, step.get('with', '')) -%}
        {% elif step == 'digits' -%}
            {% set ladder.sql = revetl.replace_matches(ladder.sql, '[^0-9]', '') -%}
        {% elif step == 'trim' -%}
            {% set ladder.sql = revetl.trimmed(ladder.sql) -%}
        {% else -%}
            {% set ladder.sql = step ~ '(' ~ ladder.sql ~ ')' -%}
        {% endif -%}
    {% endfor -%}
    nullif({{ ladder.sql }}, '')
{%- endmacro %}

{# Whether a value is one of the blocked ones: a value in any case and with any blanks around it, or a
   /pattern/. Null is not. #}
{% macro is_blocked(value, blocked) -%}
    {% set values = [] -%}
    {% set patterns = [] -%}
    {% for one in blocked -%}
        {% set text = 'null' if one is none else one | string -%}
        {% if text | length > 1 and text[0] == '/' and text[-1] == '/' -%}
            {% do patterns.append(text[1:-1]) -%}
        {% else -%}
            {% do values.append(revetl.text_literal(text | trim | lower)) -%}
        {% endif -%}
    {% endfor -%}
    {% set conditions = ['lower(' ~ revetl.trimmed(value) ~ ') in (' ~ values | join(', ') ~ ')'] if values else [] -%}
    {% for pattern in patterns -%}
        {% do conditions.append(revetl.matches(value, pattern | replace("'", "''"))) -%}
    {% endfor -%}
    {{ '(' ~ (conditions | join(' or ') or 'false') ~ ')' }}
{%- endmacro %}

{# A group id as accounts are known by it: null where it is blocked, as an identifier would be. #}
{% macro account_id(value) -%}
    case when not {{ revetl.is_blocked(value, revetl.identity_rules().blocked) }} then {{ revetl.trimmed(value) }} end
{%- endmacro %}

{# Joins of a message's identifiers to the seed of blocked ones, each under the alias blocked_<name>. #}
{% macro joins_of_blocked(columns) -%}
    {% for column in columns -%}
    left join blocked_values as blocked_{{ column.name }}
        on normalised.{{ column.name }} = blocked_{{ column.name }}.identifier_value
            and blocked_{{ column.name }}.identifier_type = '{{ column.type }}'
    {% endfor %}
{%- endmacro %}
