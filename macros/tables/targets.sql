{# The condition of rows that this target wrote. Rows of an older version whose target is not known are every target's. #}
{% macro of_this_target(column='target') -%}
    {% set name = revetl.text_literal(target.name) -%}
    coalesce({{ column }}, {{ name }}) = {{ name }}
{%- endmacro %}

{# Once, when a table gets its column `target`: its rows become those of the target that wrote the state. Where no sync
   has run, or syncs of several targets have, it is not known, and the rows stay without one. #}
{% macro adopt_rows(relation, columns) %}
    {% set targets = [] %}
    {% for row in run_query('select distinct written_by from ' ~ revetl.state_relation('sync_identities')).rows %}
        {% set name = (fromjson(row[0], {}) or {}).get('target') %}
        {% if name and name not in targets %}
            {% do targets.append(name) %}
        {% endif %}
    {% endfor %}
    {% if targets | length == 1 %}
        {% do revetl.set_target(relation, columns, revetl.text_literal(targets[0])) %}
    {% endif %}
{% endmacro %}

{% macro set_target(relation, columns, name) %}
    {{ return(adapter.dispatch('set_target', 'revetl')(relation, columns, name)) }}
{% endmacro %}

{% macro default__set_target(relation, columns, name) %}
    {% do revetl.run_together(['update ' ~ relation ~ ' set target = ' ~ name ~ ' where target is null']) %}
{% endmacro %}

{# Files that can only be written again. #}
{% macro spark__set_target(relation, columns, name) %}
    {% set there = load_cached_relation(relation) %}
    {% if there.is_delta or there.is_iceberg %}
        {% do revetl.default__set_target(relation, columns, name) %}
    {% else %}
        {% set values = [] %}
        {% for column in columns %}
            {% do values.append('coalesce(target, ' ~ name ~ ') as target' if column == 'target' else column) %}
        {% endfor %}
        {% do revetl.spark_swap(
            relation, columns | join(', '), 'select ' ~ values | join(', ') ~ ' from ' ~ relation, revetl.never()) %}
    {% endif %}
{% endmacro %}

{% macro databricks__set_target(relation, columns, name) %}
    {{ return(revetl.default__set_target(relation, columns, name)) }}
{% endmacro %}

{# A table of the state where no model reads it. #}
{% macro state_relation(name) %}
    {% set table = graph.sources['source.revetl.revetl_state.' ~ name] %}
    {{ return(api.Relation.create(
        database=table.database, schema=revetl.schema_of('state') or table.schema, identifier=table.identifier)) }}
{% endmacro %}
