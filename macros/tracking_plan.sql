{# An empty plan, for a project that has none. `revetl protocols compile` writes the project's own. #}
{% macro default__tracking_plan() -%}
    {{ return({'form': 1, 'hash': 'da020b2f98d7e900', 'unplanned_events': 'allow', 'events': [], 'documents': []}) }}
{%- endmacro %}
