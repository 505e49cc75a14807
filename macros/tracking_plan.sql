{# An empty plan, for a project that has none. `revetl protocols compile` writes the project's own. #}
{% macro default__tracking_plan() -%}
    {{ return({'form': 1, 'hash': '481e346427515c23', 'unplanned_events': 'allow', 'events': [], 'documents': []}) }}
{%- endmacro %}
