{# Whether a text has another in it, at its beginning or at its end; the other is plain text, not a pattern. #}
{% macro contains(text, part) -%}
    {{ return(adapter.dispatch('contains', 'revetl')(text, part)) }}
{%- endmacro %}

{% macro starts_with(text, part) -%}
    {{ return(adapter.dispatch('starts_with', 'revetl')(text, part)) }}
{%- endmacro %}

{% macro ends_with(text, part) -%}
    {{ return(adapter.dispatch('ends_with', 'revetl')(text, part)) }}
{%- endmacro %}

{% macro default__contains(text, part) -%}
    {{ return(text ~ ' like ' ~ revetl.text_literal('%' ~ revetl.like_escaped(part) ~ '%') ~ " escape '!'") }}
{%- endmacro %}

{% macro default__starts_with(text, part) -%}
    {{ return(text ~ ' like ' ~ revetl.text_literal(revetl.like_escaped(part) ~ '%') ~ " escape '!'") }}
{%- endmacro %}

{% macro default__ends_with(text, part) -%}
    {{ return(text ~ ' like ' ~ revetl.text_literal('%' ~ revetl.like_escaped(part)) ~ " escape '!'") }}
{%- endmacro %}

{# A part of a pattern that stands for itself. #}
{% macro like_escaped(part) -%}
    {{ return(adapter.dispatch('like_escaped', 'revetl')(part)) }}
{%- endmacro %}

{% macro default__like_escaped(part) -%}
    {{ return(modules.re.sub('([!%_])', '!\\1', part)) }}
{%- endmacro %}

{# It has sets of characters in brackets. #}
{% macro fabric__like_escaped(part) -%}
    {{ return(modules.re.sub('([!%_\\[])', '!\\1', part)) }}
{%- endmacro %}

{# Its LIKE has no escape but the backslash. #}
{% macro bigquery__contains(text, part) -%}
    {{ return('strpos(' ~ text ~ ', ' ~ revetl.text_literal(part) ~ ') > 0') }}
{%- endmacro %}

{% macro bigquery__starts_with(text, part) -%}
    {{ return('starts_with(' ~ text ~ ', ' ~ revetl.text_literal(part) ~ ')') }}
{%- endmacro %}

{% macro bigquery__ends_with(text, part) -%}
    {{ return('ends_with(' ~ text ~ ', ' ~ revetl.text_literal(part) ~ ')') }}
{%- endmacro %}
