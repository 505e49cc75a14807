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

{# A trimmed value as an identifier: null where it is empty, an object, an array or a boolean (as JSON, or as Python and
   DuckDB print one), or a template that nobody filled in, but not a GUID in braces; and a whole number without decimals,
   for JSON, Parquet and spreadsheets write 123 as 123.0 too. #}
{% macro plain_identifier(text) -%}
    case
        when {{ text }} = '' or lower({{ text }}) in ('true', 'false') then null
        when {{ revetl.is_object_or_array(text) }} then null
        when {{ revetl.contains(text, '.0') }} and {{ revetl.matches(text, '^-?(0|[1-9][0-9]*)[.]0+$') }}
            then {{ revetl.replace_matches(text, '[.]0+$', '') }}
        else {{ text }}
    end
{%- endmacro %}

{# Whether a text is an object or an array, as JSON or as Python and DuckDB print one, but not a GUID in braces. #}
{% macro is_object_or_array(text) -%}
    (
        (left({{ text }}, 1) = '[' and {{ revetl.ends_with(text, ']') }})
        or (left({{ text }}, 1) = '{' and {{ revetl.matches(text, '^[{][^0-9A-Za-z_-]') }})
    )
{%- endmacro %}

{# A plain value as identifiers of a type are compared: its normalization, step by step; null where nothing is left. #}
{% macro normalised_identifier(value, steps) -%}
    {% set ladder = namespace(sql=value) -%}
    {% for step in steps -%}
        {% if step is mapping -%}
            {% set ladder.sql = revetl.replace_matches(ladder.sql, step.regex, step.get('with', '')) -%}
        {% elif step == 'digits' -%}
            {% set ladder.sql = revetl.replace_matches(ladder.sql, '[^0-9]', '') -%}
        {% elif step == 'trim' -%}
            {# Values are trimmed before the first step. #}
            {% set ladder.sql = ladder.sql if loop.first else revetl.trimmed(ladder.sql) -%}
        {% else -%}
            {% set ladder.sql = step ~ '(' ~ ladder.sql ~ ')' -%}
        {% endif -%}
    {% endfor -%}
    {{ 'nullif(' ~ ladder.sql ~ ", '')" if steps else ladder.sql }}
{%- endmacro %}

{# Whether a trimmed value is one of the blocked ones: a value in any case, as it is or in quotes, or a /pattern/. Null
   is not. #}
{% macro is_blocked(value, blocked) -%}
    {% set values = [] -%}
    {% set patterns = [] -%}
    {% for one in blocked -%}
        {% set text = 'null' if one is none else one | string -%}
        {% if text | length > 1 and text[0] == '/' and text[-1] == '/' -%}
            {% do patterns.append(text[1:-1]) -%}
        {% else -%}
            {% set text = text | trim | lower -%}
            {% for spelling in [text, '"' ~ text ~ '"', "'" ~ text ~ "'"] -%}
                {% do values.append(revetl.text_literal(spelling)) -%}
            {% endfor -%}
        {% endif -%}
    {% endfor -%}
    {% set conditions = ['lower(' ~ value ~ ') in (' ~ values | join(', ') ~ ')'] if values else [] -%}
    {% for pattern in patterns -%}
        {% do conditions.append(revetl.matches(value, pattern | replace("'", "''"))) -%}
    {% endfor -%}
    {{ '(' ~ (conditions | join(' or ') or 'false') ~ ')' }}
{%- endmacro %}

{# A group id as accounts are known by it: null where it is blocked, as an identifier would be. #}
{% macro account_id(value) -%}
    {% set trimmed = revetl.trimmed(value) -%}
    case
        when not {{ revetl.is_blocked(trimmed, revetl.identity_rules().blocked) }} then {{ revetl.plain_identifier(trimmed) }}
    end
{%- endmacro %}

{# A column of `normalised`; the previous id of an alias of oneself, which ties nothing to anything, is null. #}
{% macro other_than_user_id(name, names) -%}
    {% set is_previous = name.startswith('previous_') and 'user_id' in names -%}
    {{ return('nullif(normalised.' ~ name ~ ', normalised.user_id)' if is_previous else 'normalised.' ~ name) }}
{%- endmacro %}

{# Joins of a message's identifiers to the seed of blocked ones, each under the alias blocked_<name>. #}
{% macro joins_of_blocked(columns) -%}
    {% for column in columns -%}
    left join blocked_values as blocked_{{ column.name }}
        on normalised.{{ column.name }} = blocked_{{ column.name }}.identifier_value
            and blocked_{{ column.name }}.identifier_type = '{{ column.type }}'
    {% endfor %}
{%- endmacro %}
