{# Create the raw schema and those of its tables that are missing, by the columns of the source's YAML.
   Nothing that exists is touched. #}
{% macro create_raw_tables() %}
    {% if not execute or flags.WHICH not in ['build', 'run', 'test', 'seed', 'snapshot'] %}
        {{ return('') }}
    {% endif %}
    {% set tables = graph.sources.values()
        | selectattr('package_name', 'equalto', 'revetl')
        | selectattr('source_name', 'equalto', 'raw')
        | list %}
    {% for table in tables %}
        {% set relation = api.Relation.create(
            database=table.database, schema=table.schema, identifier=table.identifier) %}
        {% if loop.first %}
            {% do adapter.create_schema(relation) %}
        {% endif %}
        {% set columns = [] %}
        {% for column in table.columns.values() %}
            {% do columns.append(adapter.quote(column.name) ~ ' ' ~ revetl.stored_type_of(column.data_type)) %}
        {% endfor %}
        {% do run_query('create table if not exists ' ~ relation ~ ' (' ~ columns | join(', ') ~ ')') %}
    {% endfor %}
    {% do adapter.commit() %}
{% endmacro %}
