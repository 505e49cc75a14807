{# Create the tables of revetl's own sources (what is landed, and what was delivered) that are missing, and
   add the columns that a newer version has, by the columns of the sources' YAML. Nothing is dropped. #}
{% macro create_source_tables() %}
    {% if not execute or flags.WHICH not in ['build', 'run', 'test', 'seed', 'snapshot'] %}
        {{ return('') }}
    {% endif %}
    {% do revetl.mend_tables() %}
    {% set schemas = [] %}
    {% for table in graph.sources.values() | selectattr('package_name', 'equalto', 'revetl') %}
        {% set relation = api.Relation.create(
            database=table.database, schema=table.schema, identifier=table.identifier) %}
        {% if table.schema not in schemas %}
            {% do adapter.create_schema(relation) %}
            {% do schemas.append(table.schema) %}
        {% endif %}
        {% set columns = [] %}
        {% for column in table.columns.values() %}
            {% do columns.append(revetl.quoted(column.name) ~ ' ' ~ revetl.stored_type_of(column.data_type)) %}
        {% endfor %}
        {% do run_query(revetl.create_table_if_missing(
            relation, columns | join(', '), revetl.source_storage(table))) %}
        {% set there = adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower') | list %}
        {% for column in table.columns.values() if column.name | lower not in there %}
            {% do run_query(revetl.add_column(
                relation, revetl.quoted(column.name) ~ ' ' ~ revetl.type_of(column.data_type))) %}
        {% endfor %}
    {% endfor %}
    {% do adapter.commit() %}
{% endmacro %}
