{# Whether a value names somebody: not null, not one of `blocked_values`, not only zeros and dashes. #}
{% macro is_identifier(value) -%}
    {{ value }} is not null
    and lower(trim({{ value }})) not in (
        {%- for blocked in var('blocked_values') %}'{{ blocked | lower | replace("'", "''") }}'
        {{- ', ' if not loop.last }}{% endfor -%}
    )
    and not {{ revetl.matches(value, '^[0-]*$') }}
{%- endmacro %}

{# The id of an identifier: it is what a canonical id is. #}
{% macro identifier_id(type, value) -%}
    {{ revetl.hash_text(type ~ " || ':' || " ~ value) }}
{%- endmacro %}

{# An email address as identifiers are compared. #}
{% macro normalised_email(value) -%}
    lower(trim({{ value }}))
{%- endmacro %}

{# The place of an identifier's type in `identifier_priority`, from 1. #}
{% macro identifier_rank(type) -%}
    case {{ type }}
        {%- for name in var('identifier_priority') %}
        when '{{ name }}' then {{ loop.index }}
        {%- endfor %}
        else {{ var('identifier_priority') | length + 1 }}
    end
{%- endmacro %}
