{# No transformations, for a project that has none. `revetl protocols compile` writes the project's own. #}
{% macro default__transformations() -%}
    {{ return({'form': 1, 'hash': '', 'entries': []}) }}
{%- endmacro %}
